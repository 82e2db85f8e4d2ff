"""The full head in the engine: its solids are the fast head's, nothing overlaps, and a plan runs to its end."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import uproot
from fast_head_deliveries import CENTRES, M120, PAIRS, STX, beam, closed_leaves, delivery

from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.model import Delivery
from gatecheck.delivery.segments import segmented
from gatecheck.errors import SimulationError
from gatecheck.linac.geometry import half_space_interval, path_in_jaw_pair, path_in_leaves
from gatecheck.linac.model import JawPair, LinacModel
from gatecheck.transport import gate_run
from gatecheck.transport.fast_head.rays import (
    PHOTON_PDG,
    RAY_COLUMNS,
    RAY_ENERGY,
    RAY_PDG,
    RAY_SLOPE_X,
    RAY_SLOPE_Y,
    RAY_WEIGHT,
    RAY_X0,
    RAY_Y0,
)
from gatecheck.transport.full_head import run_full_head, simulate
from gatecheck.transport.full_head.build import VACUUM
from gatecheck.transport.full_head.source import EngineSource
from gatecheck.transport.full_head.states import HeadState, states_of
from gatecheck.transport.geant4_data import activate, resolve
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.process import run_in_process

pytestmark = [pytest.mark.physics, pytest.mark.gate]

Array = npt.NDArray[np.float64]
SAD = 1000.0
SETTINGS = TransportConfig()


def random_states(linac: LinacModel, count: int, seed: int) -> list[HeadState]:
    """Anything that the machine can do, the ends of every travel first."""
    random = np.random.default_rng(seed)
    jaws = linac.machine.jaws
    states = []
    for index in range(count):
        ends = index < 8
        jaw_x, jaw_y = (_jaw_positions(random, pair.travel_1, pair.travel_2, at_ends=ends) for pair in (jaws.x, jaws.y))
        centre = random.uniform(-150, 150, PAIRS)
        opening = random.choice([0.0, 0.5, 10.0, 200.0], PAIRS) * random.random(PAIRS)
        leaves = np.clip(np.stack([centre - opening / 2, centre + opening / 2]), -200.0, 200.0)
        states.append(
            HeadState(
                beam_number=1,
                segment=index + 1,
                segments=count,
                gantry=float(random.uniform(-180, 180)),
                collimator=float(random.uniform(-180, 180)),
                couch=0.0,
                isocentre=np.zeros(3),
                jaw_x=jaw_x,
                jaw_y=jaw_y,
                leaf_positions=None if index == 9 else leaves,
            )
        )
    return states


def _jaw_positions(
    random: np.random.Generator, travel_1: tuple[float, float], travel_2: tuple[float, float], *, at_ends: bool
) -> Array:
    if at_ends:
        pair = random.choice(travel_1), random.choice(travel_2)
    else:
        pair = random.uniform(*travel_1), random.uniform(*travel_2)
    return np.array(sorted(pair), dtype=float)


def source_of(rays: Sequence[Array]) -> EngineSource:
    """Photons of 5 MeV along given rays (n, 4), one array for each segment."""
    rows = np.zeros((sum(len(part) for part in rays), RAY_COLUMNS))
    joined = np.concatenate(list(rays))
    for column, place in enumerate((RAY_X0, RAY_SLOPE_X, RAY_Y0, RAY_SLOPE_Y)):
        rows[:, place] = joined[:, column]
    rows[:, RAY_PDG], rows[:, RAY_ENERGY], rows[:, RAY_WEIGHT] = PHOTON_PDG, 5.0, 1.0
    first = np.cumsum([0, *(len(part) for part in rays)]).astype(np.int64)
    return EngineSource(rows, np.ones(len(rows), dtype=bool), first, float(len(rows)), float(len(rows)))


def rays_at(seed: int, count: int) -> Array:
    random = np.random.default_rng(seed)
    # Single precision, as GATE takes them, starting on the target's plane.
    slope = random.uniform(-0.16, 0.16, (2, count))
    start = random.normal(0, 15.0, (2, count))
    return np.column_stack([start[0], slope[0], start[1], slope[1]])


def paths_in_geant4(
    linac: LinacModel, states: list[HeadState], rays: list[Array], folder: Path
) -> dict[str, list[Array]]:
    """Length of every ray in the jaws and in the leaves of Geant4's geometry, all made of vacuum."""
    activate(resolve(SETTINGS.geant4_data))
    simulation = gate_run.new_simulation(SETTINGS, 1, folder)
    simulation.run_timing_intervals = [[index * 1e9, (index + 1) * 1e9] for index in range(len(states))]
    names = simulate.build_head(simulation, linac, states, jaw_material=VACUUM, leaf_material=VACUUM)
    source = source_of(rays)
    feed = simulate._Feed(source, states, range(len(states)), SAD, folder)
    gate_run.add_memory_source(simulation, feed)
    parts = [part for part in ("jaw", "leaf") if any(name.startswith(part) for name in names)]
    for part in parts:
        actor = simulation.add_actor("PhaseSpaceActor", part)
        actor.attached_to = [name for name in names if name.startswith(part)]
        actor.steps_to_store = "all"
        actor.attributes = ["RunID", "EventID", "PrePosition", "PostPosition"]
        actor.output_filename = f"{part}.root"
    gate_run.run_simulation(simulation)
    feed.check_complete()
    found = {}
    for part in parts:
        with uproot.open(folder / f"{part}.root") as file:
            steps = file[file.keys(filter_classname="TTree")[0]].arrays(library="np")
        length = np.sqrt(sum((steps[f"PostPosition_{a}"] - steps[f"PrePosition_{a}"]) ** 2 for a in "XYZ"))
        place = source.first[steps["RunID"].astype(int)] + steps["EventID"].astype(int)
        total = np.bincount(place, weights=length, minlength=len(source.rows))
        found[part] = [total[a:b] for a, b in zip(source.first[:-1], source.first[1:], strict=True)]
    return found


@pytest.mark.parametrize("linac", [STX, M120], ids=lambda linac: linac.name)
def test_geant4s_solids_are_those_of_the_fast_head(linac: LinacModel, tmp_path: Path) -> None:
    # Jaws with their whole length and width over the rays, none beyond the axis, so that no corner counts.
    states = [
        state
        for state in random_states(linac, 200, 21)
        if state.leaf_positions is not None and state.jaw_y[0] <= 0 <= state.jaw_y[1]
    ][:12]
    rays = [rays_at(seed, 400) for seed in range(len(states))]
    found = run_in_process(paths_in_geant4, linac=linac, states=states, rays=rays, folder=tmp_path)
    jaws = linac.machine.jaws
    compared = 0
    for index, (state, part) in enumerate(zip(states, rays, strict=True)):
        single = part.astype(np.float32).astype(float)
        expected = path_in_leaves(single, state.leaf_positions, linac.machine.mlc, axis_distance=SAD)
        # Positions in single precision are good to 6e-5 mm, and a grazing ray makes more of it.
        difference = np.abs(found["leaf"][index] - expected)
        assert np.quantile(difference, 0.98) < 2e-3
        assert difference.mean() < 0.02
        inside = np.abs(part[:, 0] + part[:, 1] * jaws.y.bottom) < jaws.y.half_width - 0.5
        in_jaws = sum(
            path_in_jaw_pair(
                single,
                positions=(state.jaw(along, -1.0), state.jaw(along, 1.0)),
                along=along,
                top=pair.top,
                bottom=pair.bottom,
                axis_distance=SAD,
            )
            for along, pair in (("x", jaws.x), ("y", jaws.y))
        )
        difference = np.abs(found["jaw"][index] - in_jaws)[inside]
        assert np.quantile(difference, 0.98) < 2e-3
        assert difference.mean() < 0.02
        compared += int(np.count_nonzero(expected) + np.count_nonzero(in_jaws[inside]))
    assert compared > 3000


def in_trimmed_y_jaws(rays: Array, state: HeadState, pair: JawPair, overtravel: float) -> Array:
    """Length in the Y jaws less their trim, from the description: in the block's own system, below one plane more."""
    lengths = np.zeros(len(rays))
    trim = overtravel / SAD
    for bank in (-1.0, 1.0):
        angle = np.arctan(state.jaw("y", bank) / SAD)
        c, n = np.cos(angle), np.sin(angle)
        for index, (_, slope_x, y0, slope) in enumerate(rays):
            # Away from the face and along it, as intercept and slope of the distance from the target.
            away = np.array([bank * y0 * c, bank * (slope * c - n)])
            along = np.array([y0 * n, c + slope * n])
            low, high = 0.0, SAD
            planes = (
                away,
                along - [pair.top, 0.0],
                [pair.bottom, 0.0] - along,
                [pair.bottom * np.hypot(1.0, trim), 0.0] - along - trim * away,
            )
            for offset, rise in planes:
                low, high = half_space_interval(offset, rise, 1.0, low, high)
            lengths[index] += max(high - low, 0.0) * np.sqrt(1 + slope_x**2 + slope**2)
    return lengths


def test_a_y_jaw_beyond_the_axis_is_trimmed_in_geant4_too(tmp_path: Path) -> None:
    state = random_states(STX, 1, 24)[0]
    # X jaws wide open, so that the rays meet Y jaws alone.
    state = replace(state, jaw_x=np.array([-200.0, 200.0]), jaw_y=np.array([-180.0, -90.0]), leaf_positions=None)
    rays = rays_at(5, 4000) * (1.0, 0.4, 1.0, 2.5)
    found = run_in_process(paths_in_geant4, linac=STX, states=[state], rays=[rays], folder=tmp_path)["jaw"][0]
    pair = STX.machine.jaws.y
    single = rays.astype(np.float32).astype(float)
    trimmed, whole = (in_trimmed_y_jaws(single, state, pair, overtravel) for overtravel in (90.0, 0.0))
    at_x = rays[:, :1] + rays[:, 1:2] * np.array([pair.top, pair.bottom])
    beside_x = np.all(np.abs(at_x) < 60.0, axis=1) & (np.abs(rays[:, 2] + rays[:, 3] * pair.bottom) < 130.0)
    assert np.quantile(np.abs(found - trimmed)[beside_x], 0.98) < 2e-3
    assert np.count_nonzero(beside_x & (whole - trimmed > 1.0)) > 100


def overlaps(linac: LinacModel, states: list[HeadState], folder: Path) -> list[str]:
    """Names of volumes that Geant4 finds in each other's way, in any state."""
    activate(resolve(SETTINGS.geant4_data))
    simulation = gate_run.new_simulation(SETTINGS, 1, folder)
    simulation.run_timing_intervals = [[index * 1e9, (index + 1) * 1e9] for index in range(len(states))]
    names = simulate.build_head(simulation, linac, states)
    bad: list[str] = []

    class Checking(simulate._Feed):
        def _begin_run(self) -> None:
            super()._begin_run()
            for name in names:
                placed = simulation.volume_manager.get_volume(name).g4_physical_volumes[0]
                # Points on the surface, smallest overlap in mm, not verbose, errors to be told of. Each of the
                # many pieces of leaves is tried against all others: few points each are many in all.
                points = 2000 if name.startswith("jaw") else 100
                if placed.CheckOverlaps(points, 0.0, False, 1):
                    bad.append(f"{self.place}: {name}")

    feed = Checking(source_of([rays_at(0, 1)] * len(states)), states, range(len(states)), SAD, folder)
    gate_run.add_memory_source(simulation, feed)
    gate_run.run_simulation(simulation)
    feed.check_complete()
    return bad


@pytest.mark.parametrize("linac", [STX, M120], ids=lambda linac: linac.name)
def test_nothing_overlaps_at_forty_states_of_the_machine(linac: LinacModel, tmp_path: Path) -> None:
    states = random_states(linac, 40, 22)
    assert run_in_process(overlaps, linac=linac, states=states, folder=tmp_path) == []


def test_the_check_finds_an_overlap_that_is_there(tmp_path: Path) -> None:
    states = random_states(STX, 2, 23)
    crossed = np.stack([np.full(PAIRS, 20.0), np.full(PAIRS, -20.0)])
    bad = [states[0], _with_leaves(states[1], crossed)]
    found = run_in_process(overlaps, linac=STX, states=bad, folder=tmp_path)
    assert found
    assert all(name.startswith("beam 1, segment 2") for name in found)


def _with_leaves(state: HeadState, leaves: Array) -> HeadState:
    return replace(state, leaf_positions=leaves)


def two_arcs(nodes: int = 178) -> Delivery:
    """Two arcs of 178 control points whose leaves swing, with collimator 30 and 330 degrees."""
    half = np.sqrt(np.maximum(20.0**2 - CENTRES**2, 0.0))
    swing = 10.0 * np.sin(np.linspace(0, 6 * np.pi, nodes))[:, None]
    leaves = np.stack([swing - half, swing + half], axis=1)
    shared = {"nodes": nodes, "jaw_x": (-35.0, 35.0), "jaw_y": (-25.0, 25.0), "leaf_positions": leaves}
    return delivery(
        beam(gantry=np.linspace(179.0, -179.0, nodes), collimator=30.0, **shared),
        beam(number=2, gantry=np.linspace(-179.0, 179.0, nodes), collimator=330.0, **shared),
    )


def test_a_plan_of_two_arcs_of_178_control_points_runs_to_its_end(tmp_path: Path) -> None:
    plan = two_arcs()
    segments = len(states_of(segmented(plan)))
    assert segments == 2 * 354
    phase_space = run_full_head(plan, STX, histories=14_000, seed=5, settings=SETTINGS, work_folder=tmp_path)
    assert set(np.unique(phase_space.beam_number)) == {1, 2}
    away = SAD - STX.machine.exit_plane
    # Every particle lies on the exit plane of its own angle: its foot on the axis is `away` from the isocentre.
    assert np.linalg.norm(phase_space.position, axis=1).min() >= away - 1e-3
    assert np.linalg.norm(phase_space.direction, axis=1) == pytest.approx(1.0, abs=1e-5)
    angle = np.degrees(np.arctan2(phase_space.position[:, 0], -phase_space.position[:, 1]))
    # All round, in both beams.
    for number in (1, 2):
        counts, _ = np.histogram(angle[phase_space.beam_number == number], bins=12, range=(-180, 180))
        assert counts.min() > 50
    assert not list(tmp_path.glob("full-head-*"))


def failing(work_folder: Path) -> PhaseSpace:
    """A plan whose third segment cannot be read."""
    original = simulate.as_geant4_reads
    calls = {"count": 0}

    def failing_third(rows: Array, axis_distance: float) -> dict[str, Any]:
        calls["count"] += 1
        if calls["count"] == 3:
            raise OSError("no more space")
        return original(rows, axis_distance)

    simulate.as_geant4_reads = failing_third
    plan = delivery(beam(gantry=np.array([0.0, 8.0]), leaf_positions=closed_leaves()))
    return simulate.simulate_full_head(plan, STX, histories=2000, seed=1, settings=SETTINGS, work_folder=work_folder)


def test_a_segment_that_fails_stops_the_run_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SimulationError, match=r"Full head: beam 1, segment 3 of 4 \(gantry 5\.0 degrees\): .*no more space"
    ):
        run_in_process(failing, work_folder=tmp_path)


def test_the_same_seed_gives_the_same_phase_space() -> None:
    plan = delivery(beam(jaw_x=(-10.0, 10.0), jaw_y=(-10.0, 10.0)))
    with tempfile.TemporaryDirectory() as folder:
        first, again = (
            run_full_head(plan, STX, histories=2000, seed=8, settings=SETTINGS, work_folder=Path(folder))
            for _ in range(2)
        )
    assert np.array_equal(first.energy, again.energy)
    assert np.array_equal(first.position, again.position)
    assert len(first) > 100
