"""Geant4's data: which set is used, how it is installed, and the embedded set that makes gatecheck run anywhere.

Order of `resolve`: a folder named in the configuration or in GATECHECK_GEANT4_DATA; the official sets
inside opengate_core when they are complete; else the embedded set, built once into the user's cache.
Nothing here imports opengate, and nothing downloads unless `install` is called.
"""

from gatecheck.transport.geant4_data.embedded import build
from gatecheck.transport.geant4_data.official import install
from gatecheck.transport.geant4_data.resolver import (
    CONFIGURED_VARIABLE,
    GEANT4_COMMANDS,
    STANDARD_LIST,
    DataStatus,
    Geant4DataSet,
    activate,
    check_physics_list,
    resolve,
    status,
)

__all__ = [
    "CONFIGURED_VARIABLE",
    "GEANT4_COMMANDS",
    "STANDARD_LIST",
    "DataStatus",
    "Geant4DataSet",
    "activate",
    "build",
    "check_physics_list",
    "install",
    "resolve",
    "status",
]
