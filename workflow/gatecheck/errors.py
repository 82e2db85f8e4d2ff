"""The errors that gatecheck explains to a person."""

ERROR_FILE_VARIABLE = "GATECHECK_ERROR_FILE"
"""Environment variable with the file in which a step leaves its message for `gatecheck verify`."""

PREPARED_VARIABLE = "GATECHECK_CASE_PREPARED"
"""Environment variable that tells the workflow's processes that one of them has prepared and locked the case.

It holds that run's token; see `gatecheck.locking`.
"""


class GatecheckError(Exception):
    """A refusal with one clear message; the command line prints it and ends with exit code 2.

    The message says what was found, what was expected and what to do, and names the file by its
    place inside the folder that was given (never a patient's name, ID or date).
    """

    exit_code = 2


class InputError(GatecheckError):
    """The DICOM folder, the configuration or another input cannot be used."""


class UnsupportedPlanError(InputError):
    """The plan asks for something that gatecheck does not model, refused by name."""


class ResultError(GatecheckError):
    """A file that an earlier step wrote is missing, damaged or belongs to other inputs."""


class RemovedResultError(ResultError):
    """A damaged or missing result is gone for good: the same command makes it anew, and `verify` does so by itself."""


class SimulationError(GatecheckError):
    """A simulation ended without a result that can be used."""


class WriteError(GatecheckError):
    """A result could not be written (disk full, no permission); nothing half-written is left."""
