"""From energy scored in voxels to dose, checked against what entered, and its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.errors import SimulationError
from gatecheck.files import sha256_of_file, write_image
from gatecheck.patient.model import Material, VoxelBox
from gatecheck.transport.gate import GateRun, Score
from gatecheck.transport.model import PhaseSpace, ScoredBox
from gatecheck.transport.volumes import Volume, density_zyx

FloatArray = npt.NDArray[np.float64]
DoseTo = Literal["medium", "water"]

MEV_PER_GRAM_IN_GRAY = 1.602176634e-10
"""1 MeV/g in Gy (CODATA 2018, exact)."""

# Energy can only be lost on the way; this leaves room for single-precision sums.
_ENERGY_TOLERANCE = 1e-3


def energy_balance(
    phase_space: PhaseSpace, aimed: PhaseSpace, run: GateRun, boxes: Sequence[VoxelBox], dose_to: DoseTo
) -> dict[str, float]:
    """Weighted MeV below the head, towards the patient, deposited in all and in each box, and left to GATE in air.

    Raises
    ------
    SimulationError
        When more is deposited than entered.
    """
    below_head = float((phase_space.weight * phase_space.energy).sum())
    entered = float((aimed.weight * aimed.energy).sum())
    per_box = {f"deposited_{box.name}": float(s.energy_zyx.sum()) for box, s in zip(boxes, run.scores, strict=True)}
    deposited = sum(per_box.values())
    if dose_to == "medium" and deposited > entered * (1 + _ENERGY_TOLERANCE):
        raise SimulationError(
            f"{deposited:.6g} MeV deposited of {entered:.6g} MeV that entered: the engine's score cannot be right. "
            "Please report this with the configuration."
        )
    left = {} if run.left_to_gate is None else {"left_to_gate": run.left_to_gate}
    return {"below_head": below_head, "entered": entered, "deposited": deposited, **per_box, **left}


def doses_of(
    run: GateRun, volumes: Sequence[Volume], materials: Sequence[Material], dose_to: DoseTo
) -> list[tuple[FloatArray, FloatArray]]:
    """`dose_from_energy` of every volume."""
    return [
        dose_from_energy(score, volume, materials, dose_to) for score, volume in zip(run.scores, volumes, strict=True)
    ]


def dose_from_energy(
    score: Score, volume: Volume, materials: Sequence[Material], dose_to: DoseTo
) -> tuple[FloatArray, FloatArray]:
    """Sum of dose (Gy) and sum of squared dose (Gy²) per scoring voxel, each indexed [z, y, x]."""
    density = density_zyx(volume, materials) if dose_to == "medium" else np.ones(score.energy_zyx.shape)
    grams = density * float(np.prod(volume.spacing)) * 1e-3
    gray_per_mev = MEV_PER_GRAM_IN_GRAY / grams
    return score.energy_zyx * gray_per_mev, score.energy_squared_zyx * gray_per_mev**2


def write_box(
    partial: Path, out_folder: Path, name: str, box: VoxelBox, dose: tuple[FloatArray, FloatArray]
) -> ScoredBox:
    """Write dose and squared dose as one image, under its name only when it is whole."""
    image = sitk.GetImageFromArray(np.stack(dose, axis=-1).astype(np.float32), isVector=True)
    image.SetOrigin(box.origin)
    image.SetSpacing(box.spacing)
    write_image(partial / name, image)
    digest = sha256_of_file(partial / name)
    (partial / name).replace(out_folder / name)
    return ScoredBox(name=box.name, file=name, sha256=digest)
