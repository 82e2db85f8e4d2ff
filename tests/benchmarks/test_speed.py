"""The benchmark's own arithmetic, on made doses, and its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from case_times import Wanted, case_times, configured
from efficiency import Outcome, _place, irradiated
from recordings import PARTS, beyond_noise, part_of
from speed import SECTIONS, main
from speed_page import _TABLES, markdown
from unbiased import apart, box_round, centre_of, together

from gatecheck.config import load_config
from gatecheck.transport.electron_replay.steps import RecordedTracks
from gatecheck.transport.volumes import HomogeneousVolume, VoxelVolume


def outcome(sigma: float, core_seconds: float, *, batches: int = 400, seed: int = 1) -> Outcome:
    """Voxels of dose 2, each batch with a relative sigma."""
    random = np.random.default_rng(seed)
    doses = 2.0 * (1 + sigma * random.standard_normal((batches, 500)))
    return Outcome(doses.astype(np.float32), core_seconds, 1e6, 0.0)


def test_half_the_sigma_in_the_same_time_is_four_times_as_efficient() -> None:
    chosen, dose = np.ones(500, bool), np.full(500, 2.0)
    one, other = outcome(0.2, 10.0), outcome(0.1, 10.0, seed=2)
    assert one.cost(chosen, dose) / other.cost(chosen, dose) == pytest.approx(4.0, rel=0.02)
    assert one.relative_variance(chosen, dose) == pytest.approx(0.2**2 / 400, rel=0.02)


def test_the_heads_time_counts_per_nominal_photon() -> None:
    chosen, dose = np.ones(500, bool), np.full(500, 2.0)
    one = outcome(0.2, 10.0)
    assert one.cost(chosen, dose, head=1e-5) / one.cost(chosen, dose) == pytest.approx(2.0)


def test_irradiated_is_a_share_of_the_highest_doses_not_of_one_voxel() -> None:
    dose = np.linspace(0.0, 1.0, 10_000)
    dose[7] = 50.0
    found = irradiated(Outcome(np.tile(dose, (2, 1)).astype(np.float32), 1.0, 1.0, 0.0), 0.5)
    assert found.sum() == pytest.approx(5000, abs=20)


def test_a_region_is_found_among_voxels_of_its_size_alone() -> None:
    region = HomogeneousVolume("fine", 0, (0.0, 2.0, 4.0), (4.0, 6.0, 8.0), (4, 4, 4))
    same = HomogeneousVolume("whole", 0, (-2.0, 0.0, 0.0), (8.0, 8.0, 8.0), (10, 8, 8))
    assert _place(region, same) == (slice(4, 8), slice(2, 6), slice(2, 6))
    assert _place(region, HomogeneousVolume("coarse", 0, (-2.0, 0.0, 0.0), (8.0, 8.0, 8.0), (5, 4, 4))) is None
    assert _place(region, HomogeneousVolume("beside", 0, (1.0, 2.0, 4.0), (4.0, 6.0, 8.0), (3, 4, 4))) is None


def test_the_box_round_voxels_holds_them_and_no_more() -> None:
    chosen = np.zeros((3, 4, 5), bool)
    chosen[1, 2, 3] = chosen[2, 2, 1] = True
    box = box_round(chosen, VoxelVolume("fine", np.zeros((3, 4, 5), np.uint16), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0)))
    assert box.lower == (11.0, 24.5, 32.0)
    assert box.upper == (17.0, 27.5, 40.0)
    assert box.scoring_size == (3, 1, 2)


def test_the_centre_of_voxels_is_the_mean_of_theirs() -> None:
    chosen = np.zeros((3, 4, 5), bool)
    chosen[1, 2, 3] = chosen[2, 2, 1] = True
    volume = VoxelVolume("fine", np.zeros((3, 4, 5), np.uint16), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0))
    assert centre_of(chosen, volume).tolist() == [14.0, 26.0, 36.0]


def test_runs_of_other_photons_count_by_their_photons() -> None:
    one = {"case": "a", "region": "cord", "source_photons": 300, "difference": 0.01, "sigma": 0.02}
    one["of_commits"] = {"early": 200, "late": 100}
    other = {"source_photons": 100, "difference": -0.03, "sigma": 0.03, "of_commits": {"late": 100}}
    found = together(one, {**one, **other})
    assert found["source_photons"] == 400
    assert found["of_commits"] == {"early": 200, "late": 200}
    assert found["difference"] == pytest.approx(0.0)
    assert found["sigma"] == pytest.approx(np.hypot(0.75 * 0.02, 0.25 * 0.03))


@pytest.mark.parametrize("same_photons", [True, False])
def test_differences_of_two_ways_scatter_by_their_sigma(same_photons: bool) -> None:
    """The faster way 1 % higher, with a quarter of the batches or with the slower one's photons: 400 trials."""
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(400):
        slower = rng.normal(1.0, 0.04, 80)
        faster = 1.01 * (slower + rng.normal(0.0, 0.01, 80) if same_photons else rng.normal(1.0, 0.01, 20))
        difference, sigma = apart(faster, slower, same_photons=same_photons)
        pulls.append((difference - 0.01) / sigma)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(400)
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(800) + 0.03)


def test_what_a_recording_does_is_told_from_the_photons_noise() -> None:
    """Parts that differ by 1 %: the whole, with eight times the tracks, by 0.35 %, known to 27 %; of 60 such trials."""
    rng = np.random.default_rng(3)
    found = {}
    for spread in (0.01, 0.0):
        trials = []
        for _ in range(60):
            photons = rng.normal(1.0, 0.2, 80)
            own = rng.normal(0.0, 0.02, (PARTS, 80))
            trials.append(beyond_noise(photons * (1 + rng.normal(0, spread, PARTS)[:, np.newaxis]) + own))
        found[spread] = np.sqrt(np.mean(np.square(trials), axis=0))
    assert found[0.01][0] == pytest.approx(0.01 / np.sqrt(PARTS), rel=4 * 0.27 / np.sqrt(60))
    noise = 0.02 / np.sqrt(80 * PARTS)
    assert found[0.0][1] == pytest.approx(noise, rel=0.05)
    assert found[0.0][0] < noise


def test_the_parts_of_a_recording_are_its_tracks_each_once() -> None:
    rng = np.random.default_rng(4)
    steps, freed = 500, rng.integers(0, 3, 500)
    first = np.concatenate([[0], np.cumsum(freed)]).astype(np.int32)
    is_last = rng.random(steps) < 0.1
    is_last[-1] = True
    tracks = RecordedTracks(
        energy=rng.random(steps, np.float32),
        deposit=rng.random(steps, np.float32),
        chord=rng.random((steps, 3), np.float32),
        direction=rng.random((steps, 3), np.float32),
        is_last=is_last,
        freed_first=first,
        freed_pdg=np.full(first[-1], 11, np.int32),
        freed_energy=rng.random(first[-1], np.float32),
        freed_direction=rng.random((first[-1], 3), np.float32),
    )
    parts = [part_of(tracks, part) for part in range(PARTS)]
    assert sum(len(one.energy) for one in parts) == steps
    assert {float(energy) for one in parts for energy in one.energy} == set(map(float, tracks.energy))
    assert sum(one.is_last.sum() for one in parts) == is_last.sum()
    assert all(one.is_last[-1] for one in parts)
    of_step = {float(energy): tracks.freed_energy[first[n] : first[n + 1]] for n, energy in enumerate(tracks.energy)}
    for one in parts:
        for step, energy in enumerate(one.energy):
            found = one.freed_energy[one.freed_first[step] : one.freed_first[step + 1]]
            np.testing.assert_array_equal(found, of_step[float(energy)])


@pytest.mark.parametrize("given", [True, False])
def test_whole_verifications_are_configured_as_gatecheck_reads_it(tmp_path: Path, given: bool) -> None:
    dicom = tmp_path / "export"
    dicom.mkdir()
    wanted = Wanted("plan", dicom) if given else Wanted("clinical_case_2")
    config = load_config(configured(wanted, tmp_path))
    assert config.case.dicom_folder == (dicom if given else None)
    assert config.case.name == wanted.name
    assert config.patient.fine_voxel_size == (3.0 if given else 1.0)
    assert given or config.case.phantom == "clinical_case_2"


def test_a_case_is_verified_again_where_steps_had_to_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    cached = {"recordings": 0}

    def timed(wanted: Wanted, folder: Path, cores: int) -> dict[str, object]:
        made, cached["recordings"] = 7 - cached["recordings"], 7
        return {"case": wanted.name, "recordings_made": made}

    monkeypatch.setattr("case_times._timed", timed)
    rows = case_times([Wanted("one"), Wanted("other")], 2)
    assert [(row["case"], row["recordings_made"]) for row in rows] == [("one", 7), ("one", 0), ("other", 0)]


def test_a_plan_that_is_not_given_cannot_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "plan"])
    assert "--plan says which" in capsys.readouterr().err


def test_every_section_has_a_table_on_the_page() -> None:
    assert set(_TABLES) == set(SECTIONS)
    made: dict[str, object] = {"s": "made", "photons": {"abc": 3e8, "def": 1e8}}
    rows = {
        name: {"machine": "any", "rows": [{key: made.get(form, 1) for key, _, form in columns}]}
        for name, (_, _, columns) in _TABLES.items()
    }
    page = markdown(rows)
    for heading, _, _ in _TABLES.values():
        assert f"## {heading}" in page
    assert "| abc (3e+08), def (1e+08) |" in page
