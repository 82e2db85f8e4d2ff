"""The same source particles through both heads, for the tests that compare them. Gantry 0, head first supine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.delivery.segments import segmented
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import LinacModel
from gatecheck.phantoms.clinical_case_1 import CASE
from gatecheck.transport.fast_head import collimation
from gatecheck.transport.fast_head.rays import RAY_LABEL
from gatecheck.transport.fast_head.sample import Rays, collimated, emitted_rays, plan_emission
from gatecheck.transport.full_head.exit import copies_for_patient, in_patient
from gatecheck.transport.full_head.simulate import PRODUCTION_CUT, STEP_FUNCTION, cross_head
from gatecheck.transport.full_head.source import source_for_engine
from gatecheck.transport.full_head.states import states_of
from gatecheck.transport.model import PhaseSpace

Array = npt.NDArray[np.float64]
MODELS = Path(__file__).resolve().parents[2] / "linac_models"


def machine(name: str = "truebeam_stx") -> LinacModel:
    return load_linac_model(MODELS / name)


def field(
    jaw_x: tuple[float, float], jaw_y: tuple[float, float], leaves: Array | None = None, name: str = "truebeam_stx"
) -> Delivery:
    """A beam with still jaws; leaves (nodes, 2, n_pairs) may move."""
    nodes = 2 if leaves is None else len(leaves)
    zeros = np.zeros(nodes)
    beam = BeamTimeline(
        number=1,
        name="field",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        meterset=np.linspace(0.0, 100.0, nodes),
        gantry=zeros,
        collimator=zeros,
        couch=zeros,
        jaw_x=np.tile(jaw_x, (nodes, 1)),
        jaw_y=np.tile(jaw_y, (nodes, 1)),
        leaf_positions=leaves,
        leaf_boundaries=None if leaves is None else np.array(machine(name).machine.mlc.boundaries),
        isocentre=np.zeros((nodes, 3)),
    )
    return Delivery(beams=(beam,), patient_position="HFS", fractions=1, made_from_sha256="0")


def square(side: float) -> Delivery:
    return field((-side / 2, side / 2), (-side / 2, side / 2))


def off_axis_square(side: float = 20.0, x: float = 50.0, y: float = 40.0) -> Delivery:
    """Leaves open round (x, y), jaws 10 mm further out."""
    boundaries = np.array(machine().machine.mlc.boundaries)
    centres = (boundaries[1:] + boundaries[:-1]) / 2
    # Closed pairs meet behind a jaw.
    leaves = np.full((2, 2, len(centres)), x - side / 2 - 40.0)
    inside = np.abs(centres - y) < side / 2
    leaves[:, 0, inside], leaves[:, 1, inside] = x - side / 2, x + side / 2
    half = side / 2 + 10.0
    return field((x - half, x + half), (y - half, y + half), leaves)


def sweeping_gap(gap: float = 10.0, travel: float = 100.0) -> Delivery:
    """A slit between all leaf pairs that sweeps over the field, with jaws at 100 x 100 mm."""
    pairs = len(machine().machine.mlc.boundaries) - 1
    ends = np.array([-travel / 2, travel / 2])
    leaves = np.repeat(np.stack([ends - gap / 2, ends + gap / 2], axis=1)[:, :, None], pairs, axis=2)
    return field((-50.0, 50.0), (-50.0, 50.0), leaves)


def one_arc(control_points: int = 60) -> Delivery:
    """The demonstration plan's first arc, all from gantry 0: the head knows nothing of the gantry."""
    (beam, _) = CASE.beams(control_points=control_points)
    points = beam.control_points
    (node, *_) = square(20.0).beams
    zeros = np.zeros(len(points))
    timeline = replace(
        node,
        meterset=np.array([point.cumulative_meterset_weight for point in points]) * beam.meterset,
        gantry=zeros,
        collimator=zeros + points[0].collimator_angle,
        couch=zeros,
        jaw_x=np.array([point.jaw_x for point in points]),
        jaw_y=np.array([point.jaw_y for point in points]),
        leaf_positions=np.array([point.leaf_positions for point in points]),
        leaf_boundaries=np.array(beam.leaf_boundaries),
        isocentre=np.zeros((len(points), 3)),
    )
    return Delivery(beams=(timeline,), patient_position="HFS", fractions=1, made_from_sha256="0")


FIELDS: dict[str, Callable[[], Delivery]] = {
    "open 20 mm": lambda: square(20.0),
    "open 40 mm": lambda: square(40.0),
    "open 100 mm": lambda: square(100.0),
    "open 200 mm": lambda: square(200.0),
    "off-axis 20 mm MLC": off_axis_square,
    "sweeping gap": sweeping_gap,
    "one arc": one_arc,
}


@dataclass(frozen=True, slots=True)
class Emerging:
    """Particles below one head, in patient coordinates.

    Attributes
    ----------
    phase_space : PhaseSpace
    is_open : ndarray of shape (n,), bool
        The source's own particle on a way without metal: the same in both heads.
    group : ndarray of shape (n,)
        Equal for particles of one source particle, which are not independent.
    """

    phase_space: PhaseSpace
    is_open: npt.NDArray[np.bool_]
    group: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Both:
    """Both heads' particles of the same source particles, and how long the full head took for them."""

    fast: Emerging
    full: Emerging
    seconds: float
    engine_particles: int


def both_heads(
    field_name: str,
    *,
    histories: int,
    seed: int,
    leaf_weight: float = np.inf,
    jaw_weight: float = np.inf,
    production_cut: float = PRODUCTION_CUT,
    step_function: tuple[float, float] = STEP_FUNCTION,
    fast_repeats: int = 1,
) -> Both:
    """Run both heads on the same static segments, in this process; weights as in `source_for_engine`.

    The fast head is cheap: it follows what meets metal `fast_repeats` times, with its weight shared, so that a heavy
    photon which it scatters goes several ways.
    """
    import time

    linac = machine()
    plan = segmented(FIELDS[field_name]())
    source = source_for_engine(plan, linac, histories, seed, leaf_weight=leaf_weight, jaw_weight=jaw_weight)
    open_labels = np.unique(source.rows[~source.meets_metal, RAY_LABEL])
    states = states_of(plan)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        crossings = cross_head(
            states,
            source,
            linac,
            seed=seed,
            settings=TransportConfig(),
            work_folder=Path(folder),
            production_cut=production_cut,
            step_function=step_function,
        )
    seconds = time.perf_counter() - started
    position, direction = in_patient(crossings, states, plan.patient_position)
    copies = copies_for_patient(crossings.weight)
    chosen = np.repeat(np.arange(len(copies)), copies)
    label = source.rows[crossings.ray, RAY_LABEL]
    full = Emerging(
        PhaseSpace(
            pdg_code=crossings.pdg_code[chosen].astype(np.int32),
            energy=crossings.energy[chosen],
            position=position[chosen],
            direction=direction[chosen],
            weight=(crossings.weight / copies)[chosen],
            beam_number=np.ones(len(chosen), dtype=np.int32),
            histories=histories,
            nominal_photons=source.nominal_photons,
        ),
        ~source.meets_metal[crossings.ray][chosen],
        label[chosen].astype(np.int64),
    )
    fast = _fast(plan, linac, histories, seed, open_labels, repeats=fast_repeats)
    return Both(fast, full, seconds, len(source.rows))


def _fast(
    plan: Delivery, linac: LinacModel, histories: int, seed: int, open_labels: Array, *, repeats: int
) -> Emerging:
    emission_plan = plan_emission(plan, linac, histories)
    tally = np.zeros(len(collimation.FATES))
    blocks = []
    for emitted in emitted_rays(emission_plan, seed):
        is_open = np.isin(emitted.rows[:, RAY_LABEL], open_labels)
        blocks += list(collimated(_part(emitted, is_open), emission_plan.setting, tally))
        for repeat in range(repeats):
            behind = _part(emitted, ~is_open)
            if repeat > 0:
                behind = Rays(behind.rows, _other_states(behind.states, seed, repeat))
            for block in collimated(behind, emission_plan.setting, tally):
                block[:, collimation.WEIGHT] /= repeats
                blocks.append(block)
    particles = np.concatenate(blocks)
    label = particles[:, collimation.LABEL]
    phase_space = PhaseSpace(
        pdg_code=particles[:, collimation.PDG].astype(np.int32),
        energy=particles[:, collimation.ENERGY].copy(),
        position=particles[:, collimation.X : collimation.X + 3].copy(),
        direction=particles[:, collimation.U : collimation.U + 3].copy(),
        weight=particles[:, collimation.WEIGHT].copy(),
        beam_number=np.ones(len(particles), dtype=np.int32),
        histories=histories,
        nominal_photons=emission_plan.nominal_photons,
    )
    return Emerging(phase_space, np.isin(label, open_labels), label.astype(np.int64))


def _part(rays: Rays, chosen: npt.NDArray[np.bool_]) -> Rays:
    return Rays(rays.rows[chosen], rays.states[chosen])


def _other_states(states: npt.NDArray[np.uint64], seed: int, repeat: int) -> npt.NDArray[np.uint64]:
    """Random states of each ray's next life, which share nothing with its first."""
    drawn = np.random.default_rng([seed, repeat, int(states[0]) if len(states) else 0])
    return drawn.integers(1, 2**64 - 1, len(states), dtype=np.uint64)


def at_isocentre_plane(phase_space: PhaseSpace) -> tuple[Array, Array]:
    """x_b and y_b where the particles' straight ways cross the isocentre plane."""
    way = -phase_space.position[:, 1] / phase_space.direction[:, 1]
    x = phase_space.position[:, 0] + way * phase_space.direction[:, 0]
    y = phase_space.position[:, 2] + way * phase_space.direction[:, 2]
    return x, y


def summed(emerging: Emerging, score: Array, chosen: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Sum of a score over particles, per nominal photon, and its sigma with one source particle's taken together."""
    per_group = np.bincount(emerging.group[chosen], weights=score[chosen]) if np.any(chosen) else np.zeros(1)
    total = emerging.phase_space.nominal_photons
    return float(per_group.sum() / total), float(np.sqrt((per_group**2).sum()) / total)


def difference(both: Both, scores: tuple[Array, Array], chosen: tuple[Array, Array]) -> tuple[float, float]:
    """Full head's sum of a score less the fast head's, per nominal photon, and its sigma.

    Taken source particle by source particle: both heads follow the same ones, and heavy ones that reach deep
    metal would otherwise count twice in the sigma.

    Parameters
    ----------
    scores, chosen : (ndarray, ndarray)
        For the fast head's and for the full head's particles; `chosen` are flags.
    """
    groups = [head.group[flags.astype(bool)] for head, flags in zip((both.fast, both.full), chosen, strict=True)]
    size = max((int(group.max()) + 1 for group in groups if len(group)), default=1)
    fast, full = (
        np.bincount(group, weights=score[flags.astype(bool)], minlength=size)
        for group, score, flags in zip(groups, scores, chosen, strict=True)
    )
    more = full - fast
    total = both.fast.phase_space.nominal_photons
    return float(more.sum() / total), float(np.sqrt((more**2).sum()) / total)
