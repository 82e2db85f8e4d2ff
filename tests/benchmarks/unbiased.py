"""Mean doses of a faster way of transport over those of a slower one, where it matters in the clinical cases.

Both take the same source photons. Recorded electron steps against GATE's own electrons start from the same electrons
set free, and differ in how these go on; tracked photons against GATE's share the source alone. Voxels are chosen by
structures and matter, not by dose, so that noise chooses none.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from efficiency import BATCHES, OWN, PLAIN, ROULETTE, TRACKED, Case
from scipy.ndimage import distance_transform_edt

from gatecheck.case.storage import read_case
from gatecheck.config import PatientConfig
from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.storage import read_delivery
from gatecheck.linac.load import load_linac_model
from gatecheck.patient.model import Material, VoxelBox
from gatecheck.patient.voxelise import voxelise
from gatecheck.transport.aim import aimed_at
from gatecheck.transport.electron_replay.provide import electron_steps
from gatecheck.transport.electron_replay.replay import replay_charged
from gatecheck.transport.engine import describe_engine, recorded_step_function
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.gate import Score, no_dose
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.patient_files import PatientMatter
from gatecheck.transport.photon_tracker import Roulette
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.run import follow_photons, run_transport
from gatecheck.transport.volumes import HomogeneousVolume, Volume, VoxelVolume, density_zyx, hull

FloatArray = npt.NDArray[np.float64]

VOXEL = 2.0  # mm
_BONE, _AIR = 1.15, 0.05  # g/cm3: more, and less
_AROUND_TUMOUR = 5.0  # mm that a target reaches beyond the tumour
AT_A_TIME = 40_000_000  # source photons: more do not fit into memory
_SURVIVAL = 0.01  # of electrons set free too far away to reach the fine region


@dataclass(frozen=True, slots=True)
class Claim:
    """That two ways of transport give the same mean doses in regions.

    Attributes
    ----------
    faster, slower : dict
        Keys of `TransportConfig`.
    margin : float
        Of the fine region round the tumour, mm: the smaller, the fewer electrons have to be followed.
    regions : tuple of str
    aim : str, optional
        A region that the beams are moved onto, from the tumour: far from them its dose is a few scattered particles'.
    faster_every : int
        Of so many runs of the slower way one is of the faster one, too. Where both ways share but the source's
        photons, most of the noise is the slower one's, and so is the time best spent.
    coarse : float
        Voxels elsewhere, mm.
    every_photon : bool
        The slower way follows source photons that pass the patient by, too, which gatecheck leaves out.
    without_gate : bool
        Recorded steps serve in air, too. All random numbers are particles' own then, and the difference is that of
        those alone that one way does not follow.
    outside : float, optional
        Roulette is played outside of a box that reaches so many mm beyond the tumour, as for a patient, and what of the
        regions lies outside of it is looked at: without, outside of the box that holds all regions.
    """

    faster: dict[str, Any]
    slower: dict[str, Any]
    margin: float
    regions: tuple[str, ...]
    aim: str | None = None
    faster_every: int = 1
    coarse: float = 2 * VOXEL
    every_photon: bool = False
    without_gate: bool = False
    outside: float | None = None


_SAME_PHOTONS = {"far_electron_survival": _SURVIVAL, "photon_splitting": 5, "air_electron_survival": 1.0}
_STEPS = ({**OWN, **_SAME_PHOTONS}, {**ROULETTE, **_SAME_PHOTONS})
RECORDED_STEPS = Claim(*_STEPS, _AROUND_TUMOUR + VOXEL, ("tumour", "target"))
RECORDED_STEPS_AROUND = Claim(*_STEPS, 25.0, ("cord", "bone"))
# Where GATE's own dose depends on its steps they are as fine on both sides. The trachea is 34 mm from the tumour.
_FINE_STEPS = {"electron_step_function": recorded_step_function(TransportConfig())}
RECORDED_STEPS_IN_AIR = Claim(_STEPS[0], {**_STEPS[1], **_FINE_STEPS}, 45.0, ("air",), aim="air")
TRACKED_PHOTONS = Claim(ROULETTE, PLAIN, 45.0, ("tumour", "target", "cord", "bone", "air"), faster_every=4)
"""Tracked, split and with roulette far away, as gatecheck does by itself, against nothing of it."""
TRACKED_PHOTONS_IN_TARGET = Claim(
    ROULETTE,
    PLAIN,
    _AROUND_TUMOUR + VOXEL,
    ("tumour", "target"),
    faster_every=4,
    coarse=4 * VOXEL,
    every_photon=True,
)
"""Where all depends on how many photons GATE can follow: it spends its time on the faces of voxels."""
TRACKED_PHOTONS_IN_AIR = Claim(ROULETTE, PLAIN, 45.0, ("air",), aim="air", faster_every=4)
SPLIT_PHOTONS = replace(TRACKED_PHOTONS, faster=OWN, slower={**TRACKED, **OWN})
"""Split and with roulette, against each photon followed once and every electron: six times as fast as with GATE."""
SPLIT_PHOTONS_IN_AIR = replace(TRACKED_PHOTONS_IN_AIR, faster=OWN, slower={**TRACKED, **OWN})
_NOT_SPLIT = {**OWN, "photon_splitting": 1}
ROULETTE_ALONE = Claim(
    _NOT_SPLIT, {**TRACKED, **OWN}, 45.0, ("tumour", "target", "cord", "bone", "air"), without_gate=True
)
"""Splitting needs no such proof: it is each photon followed so often with a share of its weight, bit for bit."""
ROULETTE_IN_AIR = replace(ROULETTE_ALONE, regions=("air",), aim="air")
ROULETTE_FAR = replace(ROULETTE_ALONE, regions=("cord", "bone", "air"), outside=12.0)
"""Of those regions what lies where roulette is played, in a box as whole verifications have it."""

AIR_ROULETTE = Claim(OWN, {**OWN, "air_electron_survival": 1.0}, 45.0, ("tumour", "target", "cord", "bone", "air"))
"""A quarter of the electrons that come into air, with four times the weight, against all."""
AIR_ROULETTE_IN_AIR = replace(AIR_ROULETTE, regions=("air",), aim="air")

Rows = list[dict[str, Any]]


def mean_doses(
    claim: Claim,
    cases: dict[str, Case],
    histories: int,
    *,
    commit: str,
    before: Rows | None = None,
    processes: int = 2,
) -> Rows:
    """Rows: one for each case and region.

    Parameters
    ----------
    claim, cases, histories
        What is simulated now.
    commit : str
        Of the code that simulates it. Each row says how many photons it has of which.
    before : list of dict, optional
        Rows of other runs, which these go on with: other photons, and the mean of both.
    processes : int, optional
    """
    runs = max(1, round(histories / AT_A_TIME))
    rows = []
    for name, case in cases.items():
        of_case = {row["region"]: row for row in before or [] if row["case"] == name}
        done = max((round(row["source_photons"] / AT_A_TIME) for row in of_case.values()), default=0)
        now = [
            {**row, "of_commits": {commit: row["source_photons"]}}
            for row in _rows(claim, name, case, range(1 + done, 1 + done + runs), processes)
        ]
        rows += [together(of_case[row["region"]], row) if row["region"] in of_case else row for row in now]
    return rows


def together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A row of the photons of both, which are not the same ones."""
    photons = [row["source_photons"] for row in (one, other)]
    shares = np.array(photons) / sum(photons)
    return {
        **other,
        "source_photons": sum(photons),
        "difference": float(shares @ [row["difference"] for row in (one, other)]),
        "sigma": float(np.hypot(*(shares * [row["sigma"] for row in (one, other)]))),
        "of_commits": dict(sum((Counter(row["of_commits"]) for row in (one, other)), Counter())),
    }


def _rows(claim: Claim, name: str, case: Case, seeds: range, processes: int) -> Rows:
    of_faster = seeds[:: claim.faster_every]
    common = {"case": case, "claim": claim}
    asked = [
        {**common, "transport": transport, "seed": seed, "every_photon": every_photon}
        for transport, of_way, every_photon in (
            (claim.slower, seeds, claim.every_photon),
            (claim.faster, of_faster, False),
        )
        for seed in of_way
    ]
    found = run_in_processes(_of_regions, asked, processes=processes)
    rows = []
    for region in found[0]:
        slower, faster = (
            np.concatenate([one[region] for one in of_way]) for of_way in (found[: len(seeds)], found[len(seeds) :])
        )
        difference, sigma = apart(faster, slower, same_photons=claim.faster_every == 1)
        rows.append(
            {
                "case": name,
                "region": region,
                "source_photons": len(seeds) * AT_A_TIME,
                "difference": difference,
                "sigma": sigma,
            }
        )
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    return rows


def apart(faster: FloatArray, slower: FloatArray, *, same_photons: bool) -> tuple[float, float]:
    """Relative difference of two ways' means, and its sigma, from their batches.

    Parameters
    ----------
    same_photons : bool
        Batch by batch, so that what both have of the photons' noise cancels; if not, the ways count as independent.
    """
    if same_photons:
        difference = (faster - slower) / slower.mean()
        return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))
    of_means = [one.std(ddof=1) / np.sqrt(len(one)) / one.mean() for one in (faster, slower)]
    ratio = float(faster.mean() / slower.mean())
    return ratio - 1, ratio * float(np.hypot(*of_means))


def _of_regions(
    case: Case, claim: Claim, transport: dict[str, Any], seed: int, *, every_photon: bool
) -> dict[str, FloatArray]:
    """Mean dose of each region by batch, in arbitrary but equal units."""
    settings = TransportConfig(**transport)
    describe_engine(settings)
    phase_space = sample_phase_space(read_delivery(case.delivery), load_linac_model(case.machine), AT_A_TIME, seed)
    matter, number, density, found = regions_of(case, claim.margin, claim.coarse)
    fine = matter.volumes[number]
    regions = {name: chosen for name, chosen in found.items() if name in claim.regions}
    if claim.aim is not None:
        moved = centre_of(found[claim.aim], fine) - centre_of(found["tumour"], fine)
        phase_space = replace(phase_space, position=phase_space.position + moved)
    if claim.outside is None:
        of_interest = box_round(np.logical_or.reduce(list(regions.values())), fine)
    else:
        of_interest, is_outside = _larger(box_round(found["tumour"], fine), claim.outside, fine)
        regions = {name: chosen & is_outside for name, chosen in regions.items()}
    scores = (_scores_without_gate if claim.without_gate else _scores)(
        matter.volumes,
        matter.patient.materials,
        phase_space if every_photon else aimed_at(phase_space, *hull(matter.volumes)),
        settings,
        seed=seed,
        of_interest=of_interest,
    )
    return {
        name: np.array([(batch[chosen] / density[chosen]).mean() for batch in scores[number].batches])
        for name, chosen in regions.items()
    }


def regions_of(
    case: Case, margin: float, coarse: float = 2 * VOXEL
) -> tuple[PatientMatter, int, FloatArray, dict[str, npt.NDArray[np.bool_]]]:
    """A case in voxels, the number of its fine volume, its density [z, y, x] and which voxels each region has."""
    with tempfile.TemporaryDirectory() as folder:
        patient = {**case.patient, "fine_region_margin": margin}
        voxelise(
            case.case_folder,
            Path(folder),
            PatientConfig(coarse_voxel_size=coarse, fine_voxel_size=VOXEL, **patient),
        )
        matter = PatientMatter.read(Path(folder))
    number = [box.role for box in matter.patient.boxes].index("fine")
    density = density_zyx(matter.volumes[number], matter.patient.materials)
    return matter, number, density, _regions(case.case_folder, matter.patient.boxes[number], density)


def _scores(
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    phase_space: PhaseSpace,
    settings: TransportConfig,
    *,
    seed: int,
    of_interest: Volume,
) -> tuple[Score, ...]:
    return run_transport(
        volumes=volumes,
        materials=materials,
        phase_space=phase_space,
        settings=settings,
        seed=seed,
        batches=BATCHES,
        of_interest=of_interest,
    ).scores


def _scores_without_gate(
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    phase_space: PhaseSpace,
    settings: TransportConfig,
    *,
    seed: int,
    of_interest: Volume,
) -> tuple[Score, ...]:
    followed = follow_photons(
        phase_space, volumes, materials, settings, seed=seed, batches=BATCHES, of_interest=of_interest
    )
    replayed = replay_charged(
        followed.charged,
        volumes,
        materials,
        electron_steps(settings, materials).in_gas_too(),
        seed=seed,
        batches=followed.batches,
        roulette=Roulette(
            of_interest.lower, of_interest.upper, settings.far_electron_survival, settings.far_photon_survival
        ),
    )
    return replace(followed, replayed=replayed).with_deposits(no_dose(volumes, BATCHES)).scores


def centre_of(chosen_zyx: npt.NDArray[np.bool_], volume: VoxelVolume) -> FloatArray:
    """Mean place of voxels, mm, shape (3,)."""
    places = np.argwhere(chosen_zyx)[:, ::-1]
    return np.asarray(volume.lower + (places.mean(axis=0) + 0.5) * np.array(volume.spacing))


def box_round(chosen_zyx: npt.NDArray[np.bool_], volume: VoxelVolume) -> Volume:
    """The smallest box of voxels that holds those chosen: electrons that cannot reach it need not all be followed."""
    steps = np.array(volume.spacing)
    places = np.argwhere(chosen_zyx)[:, ::-1]
    first, past = places.min(axis=0), places.max(axis=0) + 1
    lower, upper = (tuple(map(float, np.array(volume.lower) + steps * corner)) for corner in (first, past))
    return HomogeneousVolume("chosen", 0, lower, upper, tuple(map(int, past - first)))


def _larger(box: Volume, margin: float, volume: VoxelVolume) -> tuple[Volume, npt.NDArray[np.bool_]]:
    """A box that reaches so many mm farther to each side, and which voxels of a volume have their centre outside."""
    lower, upper = np.array(box.lower) - margin, np.array(box.upper) + margin
    places = np.moveaxis(np.indices(volume.labels_zyx.shape), 0, -1)[..., ::-1]
    centres = np.array(volume.lower) + np.array(volume.spacing) * (places + 0.5)
    is_outside = ((centres < lower) | (centres > upper)).any(axis=-1)
    return HomogeneousVolume("chosen", 0, tuple(map(float, lower)), tuple(map(float, upper)), (1, 1, 1)), is_outside


def _regions(case_folder: Path, box: VoxelBox, density: FloatArray) -> dict[str, npt.NDArray[np.bool_]]:
    inside = {
        one.name: _mask(case_folder / one.mask, box)
        for one in read_case(case_folder).structures
        if one.mask is not None
    }
    around = distance_transform_edt(~inside["GTV"], sampling=box.spacing[::-1])
    regions = {
        "tumour": inside["GTV"],
        "target": around <= _AROUND_TUMOUR,
        "cord": inside["SpinalCord"],
        "bone": density > _BONE,
        "air": inside["BODY"] & (density < _AIR),
    }
    return {name: chosen for name, chosen in regions.items() if chosen.any()}


def _mask(path: Path, box: VoxelBox) -> npt.NDArray[np.bool_]:
    grid = sitk.Image(list(box.size), sitk.sitkUInt8)
    grid.SetOrigin(box.origin)
    grid.SetSpacing(box.spacing)
    mask = sitk.Resample(sitk.ReadImage(str(path), sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, 0.0)
    return np.asarray(sitk.GetArrayFromImage(mask) >= 0.5)
