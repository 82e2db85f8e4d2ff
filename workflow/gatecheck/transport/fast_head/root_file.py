"""A phase space as the ROOT file that GATE's phase-space source reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gatecheck.files import write_atomically
from gatecheck.transport.model import PhaseSpace

TREE_NAME = "phsp"


def write_phase_space_root(phase_space: PhaseSpace, path: Path) -> None:
    """Write the tree `phsp` with the branch names that opengate 10's PhaseSpaceSource expects.

    Branches, float32 (mm, MeV): PrePosition_X, _Y, _Z, PreDirection_X, _Y, _Z, KineticEnergy, Weight; int32:
    PDGCode.

    Raises
    ------
    WriteError
        When the file cannot be written; nothing half-written is left.
    """
    import uproot  # noqa: PLC0415 - half a second, for GATE alone

    branches = {"KineticEnergy": phase_space.energy.astype(np.float32), "Weight": phase_space.weight.astype(np.float32)}
    for axis, name in enumerate("XYZ"):
        branches[f"PrePosition_{name}"] = phase_space.position[:, axis].astype(np.float32)
        branches[f"PreDirection_{name}"] = phase_space.direction[:, axis].astype(np.float32)
    content = {**branches, "PDGCode": phase_space.pdg_code.astype(np.int32)}
    with write_atomically(path) as temporary, uproot.recreate(temporary) as file:
        tree = file.mktree(TREE_NAME, {name: values.dtype for name, values in content.items()})
        tree.extend(content)
