"""The fast head: source photons through exact jaws and leaves, each at its moment of the delivery."""

from gatecheck.transport.fast_head.root_file import write_phase_space_root
from gatecheck.transport.fast_head.sample import sample_phase_space

__all__ = ["sample_phase_space", "write_phase_space_root"]
