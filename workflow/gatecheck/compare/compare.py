"""All comparisons of a case, from one reading of the batches of its dose."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.storage import read_case
from gatecheck.compare.biology.analysis import BiologyAnalysis
from gatecheck.compare.biology.structures import configured_roles
from gatecheck.compare.interface.analysis import InterfaceAnalysis
from gatecheck.compare.model import Comparison
from gatecheck.compare.noise import NoiseCollector
from gatecheck.compare.precision import precisions_of
from gatecheck.compare.profiles import write_profiles
from gatecheck.compare.setup_errors.robustness import RobustnessAnalysis
from gatecheck.compare.structures import COMPARISON_FILE, compare_structures, read_mc_dose
from gatecheck.compare.volume_gamma.analysis import VolumeGammaAnalysis
from gatecheck.config import Config
from gatecheck.dose.batches import leave_one_out_doses
from gatecheck.dose.model import MergeResult
from gatecheck.files import read_json
from gatecheck.layout import CaseLayout

logger = logging.getLogger(__name__)


class TakesBatches(Protocol):
    """Whatever needs the noise of the dose."""

    def add_left_out(self, dose_zyx: npt.NDArray[np.floating]) -> None:
        """Take in the dose without one batch, Gy, on the grid of mc_dose.mha."""


def compare(
    layout: CaseLayout,
    config: Config,
    *,
    dose_folder: Path | None = None,
    out_folder: Path | None = None,
    is_for_round: bool = False,
) -> Comparison:
    """Write interface.json, biology.json, setup.json, gamma.json, profiles.json and, last, comparison.json.

    Images and tables that belong to each stand beside them.

    The batches, which are read twice from the chunks, are the slow part: each is handed to all that need it.

    Parameters
    ----------
    dose_folder, out_folder : Path, optional
        Of the merged dose and of the results, where they are not those of the case.
    is_for_round : bool
        What no precision rests on (gamma of the whole dose, profiles) is left out.

    Raises
    ------
    InputError
        When the configuration names a structure or an earlier course's dose that cannot be used.
    ResultError
        When a file is missing or damaged, or files do not belong together.
    WriteError
        When a file cannot be written.
    """
    dose_folder, out_folder = dose_folder or layout.dose, out_folder or layout.compare
    merged = read_json(dose_folder / "merge.json", MergeResult)
    (out_folder / COMPARISON_FILE).unlink(missing_ok=True)
    image = read_mc_dose(dose_folder, layout.patient)
    roles = configured_roles(read_case(layout.case).structures, config.setup, config.comparison)
    x, y, z = image.GetSpacing()
    noise = NoiseCollector(sitk.GetArrayViewFromImage(image), batches=merged.batches, spacing_zyx=(z, y, x))
    folders: dict[str, Path] = {"case_folder": layout.case, "dose_folder": dose_folder}
    interface = InterfaceAnalysis(**folders, patient_folder=layout.patient, settings=config.comparison)
    biology = BiologyAnalysis(
        **folders,
        settings=config.biology,
        roles=roles,
        calibration_relative_sigma=merged.calibration_relative_sigma,
    )
    setup = RobustnessAnalysis(
        **folders,
        settings=config.setup,
        biology=config.biology,
        roles=roles,
        prescription_gy=config.comparison.prescription_gy,
    )
    takers: list[TakesBatches] = [noise, interface, setup]
    gamma = None
    if not is_for_round:
        gamma = VolumeGammaAnalysis(**folders, patient_folder=layout.patient, settings=config.comparison)
        takers.append(gamma)
    _hand_out(leave_one_out_doses(layout.transport, layout.patient, merged), takers)
    with ThreadPoolExecutor(max_workers=1) as beside:  # most of both is in compiled code that lets others run
        at_interface_later = beside.submit(interface.finish, out_folder)
        if gamma is not None:
            gamma.finish(out_folder)
            takers.clear()
            gamma = None  # its doses are no longer needed
            write_profiles(layout, dose_folder=dose_folder, out_folder=out_folder)
        setup.finish(out_folder)
        noisy = noise.finish()
        biology.finish(out_folder, noisy)
        at_interface = at_interface_later.result()
    return compare_structures(
        case_folder=layout.case,
        patient_folder=layout.patient,
        dose_folder=dose_folder,
        out_folder=out_folder,
        noise=noisy,
        precisions_of=functools.partial(precisions_of, config.transport, merged, at_interface),
    )


def _hand_out(leave_one_out: Iterable[npt.NDArray[np.floating]], to: Iterable[TakesBatches]) -> None:
    takers = tuple(to)
    for number, dose_zyx in enumerate(leave_one_out, start=1):
        for taker in takers:
            taker.add_left_out(dose_zyx)
        logger.info("batch %d read", number)
