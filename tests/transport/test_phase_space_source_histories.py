"""Histories of a phase space: kept whole, given out once, used a stated number of times, and few of them."""

from __future__ import annotations

import itertools
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fast_head_deliveries import STX
from hypothesis import given, settings
from hypothesis import strategies as st
from iaea_files import Particles, particles, write_phase_space

from gatecheck.config import PhaseSpaceConfig
from gatecheck.errors import InputError
from gatecheck.transport.phase_space_source import HistoryRun, inspection, open_source, source
from gatecheck.transport.phase_space_source.inspection import HistoryMarks, inspect_phase_space

Array = npt.NDArray[np.float64]


def _of_sizes(sizes: list[int], start: int = 0) -> Particles:
    """Histories of so many particles each; y tells the history (0.001 cm each), x the particle."""
    count = sum(sizes)
    new = np.zeros(count, dtype=bool)
    new[np.cumsum([0, *sizes[:-1]])] = True
    history = np.repeat(np.arange(len(sizes)), sizes) + start
    increment = np.where(new, 2, 0)
    return particles(count, x=1e-3 * np.arange(count), y=1e-3 * history, new=new, increment=increment)


def _written(stem: Path, content: Particles, marks: HistoryMarks, original_histories: int) -> Path:
    longs = (1,) if marks is HistoryMarks.INCREMENTS else ()
    return write_phase_space(
        stem,
        content,
        extra_longs=longs,
        mark_by_energy=marks is HistoryMarks.ENERGY_SIGN,
        original_histories=original_histories,
    )


_SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=40)


@given(
    first=_SIZES,
    second=_SIZES,
    marks=st.sampled_from([HistoryMarks.INCREMENTS, HistoryMarks.ENERGY_SIGN]),
    cuts=st.lists(st.integers(0, 80), max_size=5),
    sizes=st.tuples(st.integers(1, 30), st.integers(1, 10)),
)
@settings(max_examples=60, deadline=None)
def test_runs_share_the_histories_of_all_files_out_whole_and_once(
    first: list[int], second: list[int], marks: HistoryMarks, cuts: list[int], sizes: tuple[int, int]
) -> None:
    block, stride = sizes
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        for module in (source, inspection):
            patch.setattr(module, "BLOCK", block)
            patch.setattr(module, "INDEX_STRIDE", stride)
        headers = (
            _written(Path(folder) / "one", _of_sizes(first), marks, 3 * len(first)),
            _written(Path(folder) / "two", _of_sizes(second, len(first)), HistoryMarks.ENERGY_SIGN, 2 * len(second)),
        )
        opened = open_source(PhaseSpaceConfig(files=headers), STX)
        total = len(first) + len(second)
        assert opened.summary.histories == total
        edges = sorted({0, total, *(min(cut, total) for cut in cuts)})
        records: list[int] = []
        for begin, end in itertools.pairwise(edges):
            blocks = list(opened.blocks(HistoryRun(begin, end - begin)))
            history = np.concatenate([part.history for part in blocks])
            assert set(history) == set(range(begin, end))
            # The history that the writer gave a particle is the one that it is read with.
            y = np.concatenate([part.records.position[:, 1] for part in blocks])
            assert y == pytest.approx(0.01 * history, abs=1e-6)
            records += np.concatenate([part.record for part in blocks]).tolist()
        assert records == list(range(sum(first) + sum(second)))


@pytest.mark.parametrize("marks", list(HistoryMarks))
def test_histories_are_counted_as_the_file_marks_them(tmp_path: Path, marks: HistoryMarks) -> None:
    header = _written(tmp_path / "beam", _of_sizes([2, 1, 3, 1]), marks, 100)
    summary = inspect_phase_space(PhaseSpaceConfig(files=(header,)), STX)
    assert summary.files[0].marks is marks
    assert summary.histories == (7 if marks is HistoryMarks.NONE else 4)
    assert any("marks no beginnings" in warning for warning in summary.warnings) is (marks is HistoryMarks.NONE)


def test_a_file_that_begins_within_a_history_loses_no_particle(tmp_path: Path) -> None:
    content = _of_sizes([3, 2])
    content.new[0] = False
    header = write_phase_space(tmp_path / "beam", content, original_histories=2)
    opened = open_source(PhaseSpaceConfig(files=(header,)), STX)
    assert opened.summary.histories == 2
    (block,) = opened.blocks(HistoryRun(0, 2))
    assert block.history.tolist() == [0, 0, 0, 1, 1]


def test_marks_that_come_late_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = _of_sizes([2] * 30)
    content.new[:40] = False
    header = write_phase_space(tmp_path / "beam", content, original_histories=50)
    monkeypatch.setattr(inspection, "BLOCK", 8)
    summary = inspect_phase_space(PhaseSpaceConfig(files=(header,)), STX)
    assert summary.files[0].marks is HistoryMarks.ENERGY_SIGN
    # The 40 unmarked particles at the beginning can only be one history.
    assert summary.histories == 11


@given(sizes=_SIZES, recycle=st.integers(1, 7), histories=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_chunks_share_no_history_and_the_files_are_never_begun_again(
    sizes: list[int], recycle: int, histories: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        header = write_phase_space(Path(folder) / "beam", _of_sizes(sizes))
        opened = open_source(PhaseSpaceConfig(files=(header,), recycle=recycle), STX)
    taken: set[int] = set()
    for index in range(1, 100):
        if (len(taken) + -(-histories // recycle)) > len(sizes):
            with pytest.raises(InputError, match="histories asked for"):
                opened.run_of_chunk(index, histories)
            with pytest.raises(InputError, match="histories asked for"):
                opened.check_enough(index, histories)
            return
        run = opened.run_of_chunk(index, histories)
        opened.check_enough(index, histories)
        here = set(range(run.first, run.end))
        assert run.count * recycle >= histories
        assert not here & taken
        taken |= here
        assert opened.run_from(run.first, histories) == run
    pytest.fail("a hundred chunks of at most forty histories did not end")


def test_asking_for_too_much_says_what_there_is_what_was_asked_and_what_to_set(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", _of_sizes([1] * 100))
    opened = open_source(PhaseSpaceConfig(files=(header,), recycle=3), STX)
    opened.check_enough(10, 30)
    with pytest.raises(InputError) as caught:
        opened.check_enough(11, 30)
    message = str(caught.value)
    for part in (
        "330 histories asked for",
        "holds 100",
        "3 times: 300 in all",
        "recycle to 4 or more",
        "source_photons",
    ):
        assert part in message


def test_original_histories_without_particles_count_in_each_file_by_its_own_header(tmp_path: Path) -> None:
    one = write_phase_space(tmp_path / "one", _of_sizes([1] * 10), original_histories=1000)
    two = write_phase_space(tmp_path / "two", _of_sizes([2] * 10, 10), original_histories=200)
    opened = open_source(PhaseSpaceConfig(files=(one, two)), STX)
    assert opened.original_histories(HistoryRun(0, 20)) == pytest.approx(1200)
    assert opened.original_histories(HistoryRun(5, 10)) == pytest.approx(5 * 100 + 5 * 20)


def test_moments_are_even_in_original_histories_and_a_history_s_uses_lie_apart(tmp_path: Path) -> None:
    one = write_phase_space(tmp_path / "one", _of_sizes([1] * 10), original_histories=1000)
    two = write_phase_space(tmp_path / "two", _of_sizes([2] * 10, 10), original_histories=200)
    opened = open_source(PhaseSpaceConfig(files=(one, two), recycle=4), STX)
    run, history = HistoryRun(0, 20), np.arange(20)
    middle = np.full(20, 0.5)
    first = opened.moments(history, middle, 0, run)
    assert first[:10] == pytest.approx((np.arange(10) + 0.5) * 100 / 1200)
    assert first[10:] == pytest.approx((1000 + (np.arange(10) + 0.5) * 20) / 1200)
    for use in range(4):
        assert opened.moments(history, middle, use, run) == pytest.approx((first + use / 4) % 1.0)


def _even_square(count: int, seed: int, repeat: int = 1) -> Particles:
    """Histories of `repeat` equal photons from the target that cross the isocentre plane evenly in 200 x 200 mm."""
    random = np.random.default_rng(seed)
    x, y = np.repeat(random.uniform(-10, 10, (2, count)), repeat, axis=1)  # cm at 100 cm
    length = np.sqrt(x**2 + y**2 + 100.0**2)
    new = np.arange(count * repeat) % repeat == 0
    energy = np.repeat(random.uniform(1, 6, count), repeat)
    return particles(
        count * repeat, x=0.267 * x, y=0.267 * y, u=x / length, v=y / length, w=100 / length, energy=energy, new=new
    )


def test_latent_uncertainty_is_that_of_the_histories_and_not_of_the_particles(tmp_path: Path) -> None:
    single = write_phase_space(tmp_path / "single", _even_square(20_000, 1), original_histories=50_000)
    triple = write_phase_space(tmp_path / "triple", _even_square(20_000, 1, repeat=3), original_histories=50_000)
    latent = inspect_phase_space(PhaseSpaceConfig(files=(single,)), STX).latent_relative_sigma
    # By hand: a history scores with probability p = A / 400 cm2 x 0.4 an energy of mean 3.5 and variance 25/12 MeV.
    for side in (10.0, 40.0, 100.0):
        p = (side / 200) ** 2 * 20_000 / 50_000
        expected = np.sqrt(((3.5**2 + 25 / 12) * p - (3.5 * p) ** 2) / 50_000) / (3.5 * p)
        # The estimate of a sigma from n scores is good to 1 / sqrt(2 n), and more for the spread of energies; 3 sigma.
        assert latent[f"{side:g}"] == pytest.approx(expected, rel=3 * 1.2 / np.sqrt(2 * p * 50_000) + 0.005)
    assert inspect_phase_space(PhaseSpaceConfig(files=(triple,)), STX).latent_relative_sigma == pytest.approx(latent)


def test_latent_uncertainty_is_the_spread_between_independent_phase_spaces(tmp_path: Path) -> None:
    """60 phase spaces: their spread has chi-square with 59 degrees; outside 36 to 88 once in 110."""
    fluences, latents = [], []
    for seed in range(60):
        header = write_phase_space(tmp_path / f"{seed}", _even_square(1500, seed, repeat=2), original_histories=4000)
        summary = inspect_phase_space(PhaseSpaceConfig(files=(header,)), STX)
        fluences.append(summary.files[0].energy_fluence[2])
        latents.append(summary.latent_relative_sigma["100"])
    # A file of 1500 fixed histories cannot vary in their number: the binomial part of p = 1500 / 4000 is taken off.
    number = (1 - 1500 / 4000) / 1500
    expected = np.mean(np.array(latents, dtype=float) ** 2) - number
    spread = np.var(fluences, ddof=1) / np.mean(fluences) ** 2
    assert 36 < 59 * spread / expected < 88


def test_two_files_are_as_certain_as_one_with_the_histories_of_both(tmp_path: Path) -> None:
    a, b = _even_square(3000, 5), _even_square(2000, 6)
    both = Particles(**{name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in a.__dataclass_fields__})
    one = write_phase_space(tmp_path / "a", a, original_histories=9000)
    two = write_phase_space(tmp_path / "b", b, original_histories=6000)
    joined = write_phase_space(tmp_path / "c", both, original_histories=15_000)
    together = inspect_phase_space(PhaseSpaceConfig(files=(one, two)), STX).latent_relative_sigma
    assert inspect_phase_space(PhaseSpaceConfig(files=(joined,)), STX).latent_relative_sigma == pytest.approx(
        together, rel=1e-3
    )


def test_a_square_that_nothing_crosses_has_no_latent_uncertainty(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", particles(10, x=4.0, u=0.1))
    assert inspect_phase_space(PhaseSpaceConfig(files=(header,)), STX).latent_relative_sigma == {
        "10": None,
        "40": None,
        "100": None,
    }


def test_the_files_are_looked_at_once_until_they_or_the_frame_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = write_phase_space(tmp_path / "beam", _of_sizes([1, 2]))
    config = PhaseSpaceConfig(files=(header,))
    looked = []

    def counted(*arguments: object) -> object:
        looked.append(arguments)
        return inspect_phase_space(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(source, "inspect_phase_space", counted)
    first = open_source(config, STX, tmp_path / "kept")
    assert open_source(config, STX, tmp_path / "kept").summary == first.summary
    assert open_source(PhaseSpaceConfig(files=(header,), recycle=9), STX, tmp_path / "kept").uses == 18
    assert len(looked) == 1
    open_source(PhaseSpaceConfig(files=(header,), x_axis="-y"), STX, tmp_path / "kept")
    assert len(looked) == 2
    write_phase_space(tmp_path / "beam", _of_sizes([1, 2, 1]))
    assert open_source(config, STX, tmp_path / "kept").summary.histories == 3
    header.write_text(header.read_text(encoding="ascii").replace("$TITLE:\n", "$TITLE:\nnot "), encoding="ascii")
    assert open_source(config, STX, tmp_path / "kept").summary.histories == 3
    assert len(looked) == 4
    (tmp_path / "kept" / "phase_space.json").write_text("damaged", encoding="utf-8")
    assert open_source(config, STX, tmp_path / "kept").summary.histories == 3
    assert len(looked) == 5


def test_the_summary_knows_the_content_and_no_path_of_the_site(tmp_path: Path) -> None:
    one = write_phase_space(tmp_path / "one", _of_sizes([1, 2]))
    other = write_phase_space(tmp_path / "elsewhere" / "other", _of_sizes([1, 2]))
    summaries = [inspect_phase_space(PhaseSpaceConfig(files=(header,)), STX) for header in (one, other)]
    assert summaries[0].content_sha256 == summaries[1].content_sha256
    assert str(tmp_path) not in summaries[0].model_dump_json()


def test_a_source_goes_to_other_processes_and_is_known_by_all_that_changes_its_dose(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", _of_sizes([1, 2, 3]))
    opened = open_source(PhaseSpaceConfig(files=(header,)), STX)
    copy = pickle.loads(pickle.dumps(opened))
    assert copy.content_sha256 == opened.content_sha256
    assert [len(block.records) for block in copy.blocks(HistoryRun(1, 2))] == [5]
    moved = write_phase_space(tmp_path / "moved" / "other", _of_sizes([1, 2, 3]))
    assert open_source(PhaseSpaceConfig(files=(moved,)), STX).content_sha256 == opened.content_sha256
    changes: list[dict[str, Any]] = [{"recycle": 2}, {"rotate": True}, {"target_z": 1.0}, {"x_axis": "-x"}]
    others = [open_source(PhaseSpaceConfig(files=(header,), **change), STX) for change in changes]
    assert len({opened.content_sha256, *(other.content_sha256 for other in others)}) == 5


def test_fewer_histories_are_less_certain(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", _even_square(2000, 9))
    opened = open_source(PhaseSpaceConfig(files=(header,)), STX)
    whole, part = opened.latent_relative_sigma(2000)["100"], opened.latent_relative_sigma(500)["100"]
    assert whole is not None
    assert part == pytest.approx(2 * whole)


def test_a_source_without_files_is_refused() -> None:
    with pytest.raises(InputError, match=r"machine\.phase_space\.files"):
        open_source(PhaseSpaceConfig(), STX)
