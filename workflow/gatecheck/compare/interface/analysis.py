"""The comparison at the interface of one case: its tumours found, the batches collected, the results written."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Case, Structure
from gatecheck.case.storage import read_case, read_mask
from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.interface.doses import cropped, window_round
from gatecheck.compare.interface.interface import compare_interface
from gatecheck.compare.interface.model import Interface, InterfaceComparison
from gatecheck.compare.interface.preparation import LEAST_BATCHES, TPS_MARGIN, InterfaceInput
from gatecheck.compare.interface.structures import find_structures
from gatecheck.compare.interface.surface_map import write_surface_map
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.dose.model import MergeResult
from gatecheck.errors import ResultError
from gatecheck.files import read_image, read_json, sha256_of_file, write_json
from gatecheck.patient.model import PatientModel

logger = logging.getLogger(__name__)

Float32Array = npt.NDArray[np.float32]

INTERFACE_FILE = "interface.json"

_SURFACE_MAP = "surface_map_{}.csv"


class InterfaceAnalysis:
    """Collects the batches where tumours and cord lie; `finish` compares and writes.

    Parameters
    ----------
    case_folder, patient_folder, dose_folder : Path
    settings : ComparisonConfig

    Raises
    ------
    InputError
        When the configuration names a structure that is missing, ambiguous or empty.
    ResultError
        When a file is missing or damaged.
    """

    def __init__(
        self, *, case_folder: Path, patient_folder: Path, dose_folder: Path, settings: ComparisonConfig
    ) -> None:
        self._case_folder, self._dose_folder, self._settings = case_folder, dose_folder, settings
        self._case: Case = read_case(case_folder)
        self._merged = read_json(dose_folder / "merge.json", MergeResult)
        self._patient = read_json(patient_folder / "patient.json", PatientModel)
        found = find_structures(self._case.structures, settings)
        self._tumours, self._cord, self._notes = found.tumours, found.cord, list(found.notes)
        self._prescription = settings.prescription_gy or self._case.target_prescription_gy
        self._masks = {one.number: read_mask(case_folder, one) for one in (*self._tumours, *_some(self._cord))}
        whole = DoseImage.of(read_image(dose_folder / "mc_dose.mha"))
        self._size_zyx = whole.values_zyx.shape
        self._window = self._chosen_window(whole.grid)
        self._mc = None if self._window is None else cropped(whole, self._window)
        self._left_out: list[Float32Array] = []

    def _chosen_window(self, grid: VoxelGrid) -> tuple[slice, slice, slice] | None:
        """The voxels that hold the cord and, with all that is looked at round them, the tumours; None: not compared."""
        if not self._tumours:
            return None
        if not self._prescription:
            self._notes.append(
                "The plan carries no target prescription dose, so there is nothing to be in per cent of. Give "
                "comparison.prescription_gy."
            )
            return None
        if self._merged.batches < LEAST_BATCHES:
            self._notes.append(
                f"{self._merged.batches} batches, at least {LEAST_BATCHES} are needed for intervals at the interface. "
                "Raise transport.minimum_chunks."
            )
            return None
        corners = np.concatenate([_corners(mask) for mask in self._masks.values()])
        window = window_round(corners, TPS_MARGIN, grid)
        if window is None:
            self._notes.append("The Monte Carlo dose grid does not reach the tumours: nothing is compared there.")
        return window

    def add_left_out(self, dose_zyx: npt.NDArray[np.floating]) -> None:
        """Take in the dose without one batch, Gy, on the grid of mc_dose.mha.

        Raises
        ------
        ResultError
            When it lies on another grid.
        """
        if dose_zyx.shape != self._size_zyx:
            raise ResultError("A batch is not on the grid of mc_dose.mha. Run merge again.")
        if self._window is not None:
            self._left_out.append(np.array(dose_zyx[self._window], dtype=np.float32))

    def finish(self, out_folder: Path) -> Interface:
        """Compare each tumour and write interface.json and a map of each tumour's surface.

        Raises
        ------
        ResultError
            When the batches are not those of the dose, or a mask is damaged.
        WriteError
            When a file cannot be written.
        """
        (out_folder / INTERFACE_FILE).unlink(missing_ok=True)
        for old in out_folder.glob(_SURFACE_MAP.format("*")):
            old.unlink()
        tumours: tuple[InterfaceComparison, ...] = ()
        if self._mc is not None:
            given = self._given(self._mc)
            tumours = tuple(
                self._compared(number, tumour, given, out_folder) for number, tumour in enumerate(self._tumours)
            )
        result = Interface(
            made_from={
                "case": sha256_of_file(self._case_folder / "case.json"),
                "merge": sha256_of_file(self._dose_folder / "merge.json"),
                "mc_dose": sha256_of_file(self._dose_folder / "mc_dose.mha"),
            },
            tumours=tumours,
            notes=tuple(self._notes),
        )
        write_json(out_folder / INTERFACE_FILE, result)
        logger.info("%d tumours compared at their surfaces", len(tumours))
        return result

    def _batches(self, mc: DoseImage) -> Float32Array:
        """Each batch by itself: n times the whole less (n - 1) times the rest, for batches of about equal weight."""
        number = len(self._left_out)
        if number != self._merged.batches:
            raise ResultError(f"{number} batches found, {self._merged.batches} expected. Run merge again.")
        batches = np.empty((number, *mc.values_zyx.shape), dtype=np.float32)
        for index, rest in enumerate(self._left_out):
            batches[index] = number * mc.values_zyx - (number - 1) * rest
        self._left_out.clear()
        return batches

    def _tps(self) -> DoseImage | None:
        if self._case.tps_dose is None:
            return None
        return DoseImage.of(read_image(self._case_folder / self._case.tps_dose.image.file))

    def _given(self, mc: DoseImage) -> InterfaceInput:
        """Both doses and the cord, with the first tumour."""
        cord = self._cord
        return InterfaceInput(
            tumour_name=self._tumours[0].name,
            tumour_mask=self._masks[self._tumours[0].number],
            cord_name=None if cord is None else cord.name,
            cord_mask=None if cord is None else self._masks[cord.number],
            mc=mc,
            batches_zyx=self._batches(mc),
            tps=self._tps(),
            prescription_gy=float(self._prescription or 0.0),
            calibration_relative_sigma=self._merged.calibration_relative_sigma,
            photons=float(self._merged.histories),
            fine_region=_fine_region(self._patient),
            tps_values_at_centres=self._settings.tps_dose_values == "at_centres",
        )

    def _compared(self, number: int, tumour: Structure, given: InterfaceInput, out_folder: Path) -> InterfaceComparison:
        others = (one for one in self._tumours if one.number != tumour.number)
        of_tumour = dataclasses.replace(
            given,
            tumour_name=tumour.name,
            tumour_mask=self._masks[tumour.number],
            other_tumour_masks=tuple(self._masks[one.number] for one in others),
        )
        result = compare_interface(of_tumour, self._settings)
        if result.surface_map is None:
            return result.comparison
        name = _SURFACE_MAP.format(number)
        write_surface_map(out_folder / name, result.surface_map)
        return result.comparison.model_copy(update={"surface_map": name})


def _some(structure: Structure | None) -> Sequence[Structure]:
    return () if structure is None else (structure,)


def _corners(mask: sitk.Image) -> npt.NDArray[np.float64]:
    """First and last voxel of an axis-aligned image."""
    last = [size - 1 for size in mask.GetSize()]
    return np.array([mask.GetOrigin(), mask.TransformIndexToPhysicalPoint(last)])


def _fine_region(patient: PatientModel) -> VoxelGrid | None:
    """The box of fine voxels; None where all boxes have voxels of one size."""
    if len({box.spacing for box in patient.boxes}) == 1:
        return None
    fine = next((box for box in patient.boxes if box.role == "fine"), None)
    return None if fine is None else VoxelGrid(fine.size, fine.spacing, fine.origin)
