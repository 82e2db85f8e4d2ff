"""gatecheck: an independent Monte Carlo second check of radiotherapy plans."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gatecheck")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0.0.0+source"
