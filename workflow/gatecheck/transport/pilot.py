"""The pilot: a short run that says what one source photon is worth, and what it takes; kept, for its clock's sake."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.errors import ResultError, SimulationError
from gatecheck.files import array_zyx, read_image, read_json, sha256_of_json
from gatecheck.patient.model import Grid, VoxelBox
from gatecheck.transport.model import Chunk, ChunkResult, Pilot
from gatecheck.transport.patient_files import body_voxels_per_box_voxel, read_body, read_patient

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

# One standard deviation, mm: a pilot's voxels hold few photons each, but a small target smoothed too widely loses its
# maximum, and one of 0.3 ml would ask for 3 times the photons that it takes with 6 mm for all.
_SMOOTHINGS = (2.0, 3.0, 4.5, 6.0)
_NOISE_OF_MAXIMUM = 0.05


@dataclass(frozen=True, slots=True)
class PilotEstimate:
    """What a pilot run says of the runs to come.

    Attributes
    ----------
    relative_sigma_of_one : float
        Mean relative sigma (k = 1) of voxels above half the maximum if one history were simulated;
        divided by the square root of the histories it is that of the run.
    seconds_per_history : float
        Head and transport, without start-up.
    seconds_start_up : float
        What every chunk takes beside: the start of its processes and, in a full head, the changes of segment.
    """

    relative_sigma_of_one: float
    seconds_per_history: float
    seconds_start_up: float


def pilot_file(transport_folder: Path, inputs_sha256: str, chunk: Chunk) -> Path:
    """What a pilot found: each has its own, so that what was asked for in between makes none of them run again."""
    asked = sha256_of_json([inputs_sha256, chunk.histories, chunk.seed])
    return transport_folder / "pilots" / f"pilot-{asked[:16]}.json"


def kept_pilot(transport_folder: Path, inputs_sha256: str, chunk: Chunk) -> Pilot | None:
    """What the same pilot found when it ran before: no clock ticks twice alike, and chunks are as long as it said."""
    path = pilot_file(transport_folder, inputs_sha256, chunk)
    if not path.exists():
        return None
    try:
        pilot = read_json(path, Pilot)
    except ResultError as error:
        logger.warning("%s The pilot runs again.", error)
        return None
    same = (pilot.inputs_sha256, pilot.histories, pilot.seed) == (inputs_sha256, chunk.histories, chunk.seed)
    return pilot if same else None


@dataclass(frozen=True, slots=True)
class _Scored:
    """A box of the pilot: sums over its histories, and how many joined voxels of each voxel are in the body."""

    dose: FloatArray
    squared: FloatArray
    in_body: FloatArray
    spacing: tuple[float, float, float]

    @classmethod
    def read(cls, path: Path, box: VoxelBox, body_zyx: npt.NDArray[np.bool_], grid: Grid) -> _Scored:
        both = array_zyx(read_image(path)).astype(np.float64)
        return cls(both[..., 0], both[..., 1], body_voxels_per_box_voxel(box, body_zyx, grid), box.spacing)

    def smoothed(self, deviation: float) -> _Scored:
        """Dose and squared dose by a Gaussian of that many mm."""
        from scipy import ndimage  # noqa: PLC0415 - half a second, for the pilot alone

        width = [deviation / step for step in reversed(self.spacing)]
        return replace(
            self,
            dose=ndimage.gaussian_filter(self.dose, width),
            squared=ndimage.gaussian_filter(self.squared, width),
        )

    @property
    def maximum(self) -> float:
        """In the body."""
        return float((self.dose * (self.in_body > 0)).max())

    def noise_of_maximum(self, deviation: float) -> float:
        """Relative sigma of the maximum after smoothing by so many mm, as of so many voxels together."""
        place = np.unravel_index(int((self.dose * (self.in_body > 0)).argmax()), self.dose.shape)
        voxels = math.prod(max(1.0, 2 * math.sqrt(math.pi) * deviation / step) for step in self.spacing)
        return math.sqrt(float(self.squared[place]) / voxels) / float(self.dose[place])


def estimate_from_pilot(result: ChunkResult, chunk_folder: Path, patient_folder: Path) -> PilotEstimate:
    """Relative sigma per history in fine voxels where the smoothed pilot dose is above half its maximum, and speed.

    Without fine voxels it is that of all. Dose and squared dose are smoothed box by box, by as much as leaves 5 % of
    noise in the maximum, between 2 and 6 mm: a pilot's voxels hold too few photons for a variance of their own.

    Raises
    ------
    SimulationError
        When no dose reached these.
    """
    patient = read_patient(patient_folder)
    body = read_body(patient_folder, patient)
    boxes = list(zip(result.boxes, patient.boxes, strict=True))
    fine = [(scored, box) for scored, box in boxes if box.role == "fine"]
    parts = [_Scored.read(chunk_folder / scored.file, box, body, patient.joined_grid) for scored, box in fine or boxes]
    if max(part.maximum for part in parts) <= 0:
        raise SimulationError(
            f"The pilot run of {result.histories} source photons gave no dose in the "
            f"{'fine region' if fine else 'body'} ({result.particles} "
            "particles reached the patient). Check the isocentre against the CT, or raise transport.pilot_photons."
        )
    parts = _smoothed(parts)
    maximum = max(part.maximum for part in parts)
    weighted = total = 0.0
    for part in parts:
        high = (part.dose > maximum / 2) & (part.in_body > 0)
        mean = part.dose[high] / result.histories
        variance = np.maximum(part.squared[high] / result.histories - mean**2, 0.0)
        weighted += float((part.in_body[high] * np.sqrt(variance) / mean).sum())
        total += float(part.in_body[high].sum())
    seconds = result.seconds["head"] + result.seconds["transport"]
    return PilotEstimate(weighted / total, seconds / result.histories, result.seconds["start_up"])


def _smoothed(parts: list[_Scored]) -> list[_Scored]:
    """All boxes alike, by no more than the maximum's noise asks for."""
    for deviation in _SMOOTHINGS:
        smoothed = [part.smoothed(deviation) for part in parts]
        highest = max(smoothed, key=lambda part: part.maximum)
        if highest.noise_of_maximum(deviation) <= _NOISE_OF_MAXIMUM:
            break
    return smoothed
