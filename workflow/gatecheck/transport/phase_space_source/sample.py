"""Bringing the histories of a phase space through jaws and leaves, each at its moment of the delivery."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.delivery.model import Delivery
from gatecheck.linac.attenuation import compton_coefficient, removal_coefficient
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head import proposal, rays
from gatecheck.transport.fast_head.collimation import BEAM, COLUMNS, ENERGY, FATES, LABEL, PDG, WEIGHT, U, X
from gatecheck.transport.fast_head.random import start_stream, uniform
from gatecheck.transport.fast_head.sample import Rays, Setting, collimated, setting_of
from gatecheck.transport.fast_head.tables import ENERGY_STEP, EXTRA_FOCAL
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.phase_space_source.frame import in_beam_limiting_device, is_followed, rays_in_gantry
from gatecheck.transport.phase_space_source.header import ELECTRON, PHOTON, POSITRON
from gatecheck.transport.phase_space_source.records import HIGHEST_ENERGY
from gatecheck.transport.phase_space_source.source import HistoryBlock, HistoryRun, PhaseSpaceSource

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
StateArray = npt.NDArray[np.uint64]

_PDG_CODES = {PHOTON: rays.PHOTON_PDG, ELECTRON: rays.ELECTRON_PDG, POSITRON: rays.POSITRON_PDG}
_MOMENTS, _PARTICLES = "moments", "particles"  # two families of random numbers


@dataclass(frozen=True, slots=True)
class SampledHistories:
    """A phase space below the collimators, and the history that each of its particles comes from.

    Attributes
    ----------
    phase_space : PhaseSpace
        Particles of one history, with all its uses, follow each other; histories are in random order.
    history : ndarray of shape (n,), int64
        Numbered over all files of the source.
    """

    phase_space: PhaseSpace
    history: IntArray


def sample_histories(
    source: PhaseSpaceSource, delivery: Delivery, linac: LinacModel, run: HistoryRun, seed: int
) -> SampledHistories:
    """Bring a run of a phase space's histories through jaws and leaves.

    All particles of a history share one moment of the delivery (they are one electron's shower), each use of it has
    another. Moments are stratified in meterset, as the source model's are. The phase space turns with the gantry and
    not with the collimator; with `rotate`, each use of a history is turned about the beam axis by an angle of its own.
    Electrons and positrons fly straight, without the air above the exit plane, and end where they meet metal.

    The particles of a history and of all its uses are correlated. They stay together: in one run, and so in one chunk,
    and next to each other in the result, where whole histories are shuffled. A batch that is a part of it holds
    independent histories, but for the two that its ends may cut.

    Parameters
    ----------
    run : HistoryRun
        From `PhaseSpaceSource.run_from` or `run_of_chunk`.
    seed : int
        The same run and seed give the same particles, bit for bit.

    Returns
    -------
    SampledHistories
        `nominal_photons` are the original histories that the run stands for, times the uses of each; where monitor
        backscatter makes the delivery emit more or less than at the reference field, per unit of what it emits.

    Raises
    ------
    UnsupportedPlanError, ValueError
        As `sample_phase_space`.
    InputError
        When a file cannot be read.
    """
    setting = setting_with_energies(source, delivery, linac)
    unit = source.typical_weight
    tally = np.zeros(len(FATES))
    parts = [
        particles
        for emitted in recorded_rays(source, setting, run, seed)
        for particles in collimated(emitted, setting, tally)
    ]
    particles = np.concatenate(parts) if parts else np.empty((0, COLUMNS))
    particles[:, WEIGHT] *= unit
    particles = particles[_histories_shuffled(particles[:, LABEL].astype(np.int64) - run.first, run.count, seed)]
    uses = run.count * source.config.recycle
    logger.info("Phase space: %d uses of %d histories gave %d particles", uses, run.count, len(particles))
    emission = float(setting.stretches.emission.sum())
    phase_space = PhaseSpace(
        pdg_code=particles[:, PDG].astype(np.int32),
        energy=particles[:, ENERGY].copy(),
        position=particles[:, X : X + 3].copy(),
        direction=particles[:, U : U + 3].copy(),
        weight=particles[:, WEIGHT].copy(),
        beam_number=particles[:, BEAM].astype(np.int32),
        histories=uses,
        nominal_photons=source.original_histories(run) * source.config.recycle / emission,
        fates=dict(zip(FATES, (tally * unit).tolist(), strict=True)),
    )
    return SampledHistories(phase_space, particles[:, LABEL].astype(np.int64))


def recorded_rays(source: PhaseSpaceSource, setting: Setting, run: HistoryRun, seed: int) -> Iterator[Rays]:
    """The particles of a run at their moments, as the source model's `emitted_rays` gives its own.

    Weights are relative to `source.typical_weight`: roulette and splitting below aim at 1. Neutrons and protons are
    left out, and so is what flies back or nearly across the beam; the files' summaries say how much that is.

    Raises
    ------
    ValueError
        When the run is empty.
    InputError
        When a file cannot be read.
    """
    if run.count < 1:
        raise ValueError(f"{run.count} histories asked for, at least 1 is needed")
    for block in source.blocks(run):
        chosen = is_followed(block.records, block.frame)
        followed = HistoryBlock(block.records.chosen(chosen), block.history[chosen], block.record[chosen], block.frame)
        for use in range(source.config.recycle):
            yield _use_of(followed, source, setting, use=use, run=run, seed=seed)


def setting_with_energies(source: PhaseSpaceSource, delivery: Delivery, linac: LinacModel) -> Setting:
    """The setting, with attenuation tabulated up to the highest energy of the files.

    Raises
    ------
    UnsupportedPlanError, ValueError
        As `setting_of`.
    """
    setting = setting_of(delivery, linac)
    head = setting.head
    highest = max(file.highest_energy for file in source.summary.files)
    steps = max(math.ceil((highest - head.lowest_energy) / ENERGY_STEP), 1)
    # The last two may lie beyond the tables' end: no particle is there.
    energy = np.minimum(head.lowest_energy + ENERGY_STEP * np.arange(steps + 2), HIGHEST_ENERGY)
    jaws, leaves = linac.machine.jaws.alloy, linac.machine.mlc.alloy
    return replace(
        setting,
        head=head._replace(
            jaw_removal=removal_coefficient(jaws, energy),
            jaw_compton=compton_coefficient(jaws, energy),
            leaf_removal=removal_coefficient(leaves, energy),
            leaf_compton=compton_coefficient(leaves, energy),
        ),
    )


def _use_of(
    block: HistoryBlock, source: PhaseSpaceSource, setting: Setting, *, use: int, run: HistoryRun, seed: int
) -> Rays:
    """One use of a block's particles as rays in the beam limiting device system."""
    recycle, stretches = source.config.recycle, setting.stretches
    offset, turn = _two_numbers(_stream(seed, _MOMENTS), block.history * recycle + use)
    row, share = _in_stretches(source.moments(block.history, offset, use, run), stretches)
    collimator = _at(setting.nodes.collimator, stretches.node[row], share)
    # Turning the particles one way is turning the collimator the other.
    angle = collimator - 360.0 * turn if source.config.rotate else collimator
    lines = rays_in_gantry(block.records, block.frame)
    intercept = in_beam_limiting_device(lines.intercept, angle)
    slope = in_beam_limiting_device(lines.slope, angle)
    rows = np.empty((len(block.history), rays.RAY_COLUMNS))
    rows[:, rays.RAY_X0], rows[:, rays.RAY_Y0] = intercept.T
    rows[:, rays.RAY_SLOPE_X], rows[:, rays.RAY_SLOPE_Y] = slope.T
    rows[:, rays.RAY_START] = lines.start
    rows[:, rays.RAY_SHARE] = share
    rows[:, rays.RAY_ENERGY] = block.records.energy
    rows[:, rays.RAY_WEIGHT] = block.records.weight / source.typical_weight
    rows[:, rays.RAY_STRETCH] = row
    rows[:, rays.RAY_PDG] = _pdg_codes(block.records.kind)
    rows[:, rays.RAY_IS_FOCUSED] = _goes_to_opening(rows, stretches)
    rows[:, rays.RAY_LABEL] = block.history
    return Rays(rows, _states(_stream(seed, _PARTICLES), block.record * recycle + use))


def _in_stretches(moment: FloatArray, stretches: proposal.Stretches) -> tuple[IntArray, FloatArray]:
    """Stretch of each moment, and its share of the stretch's segment; moments are shares of all that is emitted."""
    cumulative = np.cumsum(stretches.emission)
    mark = moment * cumulative[-1]
    row = np.minimum(np.searchsorted(cumulative, mark, side="right"), len(cumulative) - 1)
    part = np.clip((mark - (cumulative - stretches.emission)[row]) / stretches.emission[row], 0.0, 1.0)
    return row, (1 - part) * stretches.share_start[row] + part * stretches.share_end[row]


def _at(nodes: FloatArray, node: IntArray, share: FloatArray) -> FloatArray:
    return np.asarray((1 - share) * nodes[node] + share * nodes[node + 1])


def _goes_to_opening(rows: FloatArray, stretches: proposal.Stretches) -> BoolArray:
    """Whether a ray meets the rectangle outside of which none passes freely: those keep their weight.

    The others, leakage, are followed as the source model's thin sample is: fewer, heavier particles.
    """
    rectangle = stretches.rectangle[rows[:, rays.RAY_STRETCH].astype(np.int64), EXTRA_FOCAL, 0]
    plane_x, low_x, high_x, plane_y, low_y, high_y = rectangle.T
    x = rows[:, rays.RAY_X0] + rows[:, rays.RAY_SLOPE_X] * plane_x
    y = rows[:, rays.RAY_Y0] + rows[:, rays.RAY_SLOPE_Y] * plane_y
    return np.asarray((low_x <= x) & (x < high_x) & (low_y <= y) & (y < high_y))


def _pdg_codes(kind: npt.NDArray[np.int8]) -> IntArray:
    table = np.zeros(max(_PDG_CODES) + 1, dtype=np.int64)
    for number, code in _PDG_CODES.items():
        table[number] = code
    return np.asarray(table[kind])


def _histories_shuffled(history: IntArray, count: int, seed: int) -> IntArray:
    """An order in which histories are in random order and each one's particles follow each other."""
    place = np.random.default_rng([seed, 1]).permutation(count)
    return np.argsort(place[history], kind="stable")


def _stream(seed: int, family: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(f"{family}|{seed}".encode()).digest()[:8], "little"))


def _two_numbers(seed: np.uint64, index: IntArray) -> tuple[FloatArray, FloatArray]:
    numbers = np.empty((2, len(index)))
    _fill_numbers(seed, index.astype(np.uint64), numbers)
    return numbers[0], numbers[1]


def _states(seed: np.uint64, index: IntArray) -> StateArray:
    states = np.empty(len(index), dtype=np.uint64)
    _fill_states(seed, index.astype(np.uint64), states)
    return states


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _fill_numbers(seed: np.uint64, index: StateArray, numbers: FloatArray) -> None:
    state = np.zeros(1, dtype=np.uint64)
    for place in range(len(index)):
        start_stream(state, seed, index[place])
        for row in range(len(numbers)):
            numbers[row, place] = uniform(state)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _fill_states(seed: np.uint64, index: StateArray, states: StateArray) -> None:
    state = np.zeros(1, dtype=np.uint64)
    for place in range(len(index)):
        start_stream(state, seed, index[place])
        states[place] = state[0]
