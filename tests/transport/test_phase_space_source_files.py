"""IAEA phase spaces: headers, records, and every way in which they can be wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fast_head_deliveries import STX
from hypothesis import given, settings
from hypothesis import strategies as st
from iaea_files import Particles, particles, write_phase_space

from gatecheck.config import PhaseSpaceConfig, load_config, validate_config
from gatecheck.errors import InputError
from gatecheck.transport.phase_space_source.header import read_header
from gatecheck.transport.phase_space_source.inspection import HistoryMarks, inspect_phase_space
from gatecheck.transport.phase_space_source.records import open_phase_space

Array = npt.NDArray[np.float64]

_OPTIONAL = ("x", "y", "z", "u", "v", "w", "weight")


@st.composite
def _files(draw: st.DrawFn) -> tuple[Particles, dict[str, object]]:
    """Particles and a layout that can hold them: what is not stored is the same for all."""
    count = draw(st.integers(1, 12))
    stored = tuple(name for name in _OPTIONAL if draw(st.booleans()))

    def column(name: str, low: float, high: float) -> Array:
        one = st.floats(low, high, width=32)
        return np.array(
            draw(st.lists(one, min_size=count, max_size=count)) if name in stored else [draw(one)] * count, dtype=float
        )

    u, v = column("u", -0.5, 0.5), column("v", -0.5, 0.5)
    if "w" not in stored:
        u, v = np.full(count, u[0]), np.full(count, v[0])
    sign = np.array([draw(st.sampled_from([-1.0, 1.0])) for _ in range(count)]) if "w" in stored else np.ones(count)
    content = particles(
        count,
        kind=np.array([draw(st.integers(1, 5)) for _ in range(count)]),
        energy=np.array([draw(st.floats(0.015625, 16.0, width=32)) for _ in range(count)]),
        x=column("x", -10, 10),
        y=column("y", -10, 10),
        z=column("z", 5, 27),
        u=u,
        v=v,
        w=sign * np.sqrt(1 - u**2 - v**2),
        weight=column("weight", 0.0, 4.0),
        new=np.array([draw(st.booleans()) for _ in range(count)]),
    )
    content.increment = np.where(content.new, draw(st.integers(1, 5)), 0)
    layout = {
        "stored": stored,
        "order": draw(st.sampled_from("<>")),
        "extra_floats": draw(st.lists(st.integers(0, 3), max_size=2)),
        "extra_longs": draw(st.lists(st.integers(0, 7), max_size=3, unique=True)),
    }
    return content, layout


@given(_files())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_in_every_layout_and_byte_order(file: tuple[Particles, dict[str, object]]) -> None:
    content, layout = file
    with tempfile.TemporaryDirectory() as folder:
        phase_space = open_phase_space(write_phase_space(Path(folder) / "beam", content, **layout))  # type: ignore[arg-type]
        records = phase_space.read(0, len(content))
        later = phase_space.read(len(content) // 2, len(content))
    # Single precision in the file, and seven digits for the header's constants.
    close = {"rel": 1e-6, "abs": 1e-6}
    assert records.kind.tolist() == content.kind.tolist()
    assert records.energy == pytest.approx(content.energy, rel=1e-6)
    assert records.position / 10 == pytest.approx(np.stack([content.x, content.y, content.z], axis=1), **close)
    assert records.direction == pytest.approx(np.stack([content.u, content.v, content.w], axis=1), **close)
    assert records.weight == pytest.approx(content.weight, **close)
    assert records.has_negative_energy.tolist() == content.new.tolist()
    if 1 in layout["extra_longs"]:  # type: ignore[operator]
        assert records.increment is not None
        assert records.increment.tolist() == content.increment.tolist()
    else:
        assert records.increment is None
    assert np.array_equal(later.position, records.position[len(content) // 2 :])


@pytest.mark.parametrize(
    ("stored", "floats", "longs", "length"),
    [
        (("x", "y", "u", "v", "w"), (), (), 21),
        (("x", "y", "u", "v", "w"), (), (1,), 25),
        (("x", "y", "u", "v", "w", "weight"), (), (2,), 29),
        (("x", "y", "z", "u", "v", "w", "weight"), (), (1,), 33),
        (("x", "y", "z", "u", "v", "w", "weight"), (3, 0), (1, 2), 45),
    ],
)
def test_records_have_the_length_that_their_layout_takes(
    tmp_path: Path, stored: tuple[str, ...], floats: tuple[int, ...], longs: tuple[int, ...], length: int
) -> None:
    content = particles(5, increment=np.arange(1, 6))
    header = write_phase_space(tmp_path / "beam", content, stored=stored, extra_floats=floats, extra_longs=longs)
    assert read_header(header).record_length == length
    assert header.with_suffix(".IAEAphsp").stat().st_size == 5 * length


def test_a_header_without_the_constant_weight_means_one_and_says_so(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", particles(3), blocks={"RECORD_CONSTANT": " 26.7000 // Constant Z"})
    assert open_phase_space(header).read(0, 3).weight.tolist() == [1.0, 1.0, 1.0]
    assert "weight" in inspect_phase_space(PhaseSpaceConfig(files=(header,)), STX).warnings[0]


def test_numbers_of_histories_beyond_32_bits_are_read(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", particles(3), blocks={"ORIG_HISTORIES": "2.3676225E9"})
    assert read_header(header).original_histories == 2_367_622_500


def _refusal(header: Path, **changes: object) -> str:
    config = PhaseSpaceConfig(files=(header,), **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        inspect_phase_space(config, STX)
    message = str(caught.value)
    assert "\n" not in message
    assert header.stem in message
    return message


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ({"RECORD_LENGTH": None}, ("RECORD_LENGTH", "missing")),
        ({"RECORD_CONTENTS": None}, ("RECORD_CONTENTS", "missing")),
        ({"BYTE_ORDER": "big"}, ("BYTE_ORDER", "'big'")),
        ({"BYTE_ORDER": "3412"}, ("BYTE_ORDER", "3412", "1234", "4321")),
        ({"PARTICLES": "-3"}, ("PARTICLES", "-3")),
        ({"PARTICLES": "2.5"}, ("PARTICLES", "2.5")),
        ({"ORIG_HISTORIES": ""}, ("ORIG_HISTORIES", "nothing")),
        ({"ORIG_HISTORIES": "0"}, ("0 ORIG_HISTORIES",)),
        ({"FILE_TYPE": "1"}, ("FILE_TYPE", "event generator")),
        ({"RECORD_LENGTH": "25", "CHECKSUM": "100"}, ("RECORD_LENGTH", "25", "21")),
        ({"CHECKSUM": "85"}, ("CHECKSUM", "85", "84")),
        ({"PARTICLES": "5", "CHECKSUM": "105", "PHOTONS": "5"}, ("84 bytes", "105")),
        ({"PHOTONS": "3"}, ("PARTICLES", "4", "3 photons")),
        ({"PHOTONS": "3", "ELECTRONS": "1"}, ("4 photons found", "says 3")),
        ({"RECORD_CONTENTS": "1\n1\n0\n1\n1\n1\n0\n0"}, ("RECORD_CONTENTS", "8 lines")),
        ({"RECORD_CONTENTS": "1\n1\n0\n1\n1\n2\n0\n0\n0"}, ("RECORD_CONTENTS", "2")),
        ({"RECORD_CONTENTS": "1\n1\n0\n1\n1\n1\n0\n0\n1"}, ("RECORD_CONTENTS", "0 extras")),
        ({"RECORD_CONTENTS": "1\n1\n0\n1\n1\n1\n0\n0\n1\n9"}, ("RECORD_CONTENTS", "type 9")),
        ({"RECORD_CONTENTS": "1\n1\n0\n1\n1\n1\n0\n1\n0\n4"}, ("RECORD_CONTENTS", "type 4")),
        ({"RECORD_CONSTANT": ""}, ("RECORD_CONSTANT", "0 numbers", "z, weight")),
        ({"STATISTICAL_INFORMATION_PARTICLES": "4 a b c d e PHOTONS"}, ("STATISTICAL_INFORMATION_PARTICLES",)),
    ],
)
def test_a_header_that_cannot_be_right_is_refused_by_keyword(
    tmp_path: Path, blocks: dict[str, str | None], expected: tuple[str, ...]
) -> None:
    message = _refusal(write_phase_space(tmp_path / "beam", particles(4), blocks=blocks))
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("kind", 9, "particle type 9"),
        ("energy", np.nan, "energy = nan"),
        ("x", np.inf, "x = inf"),
        ("v", -np.inf, "v = -inf"),
        ("u", 1.01, "squares sum to more than 1"),
        ("energy", 21.0, "21 MeV"),
        ("weight", -0.5, "weight of -0.5"),
        ("increment", -2, "incremental history number of -2"),
    ],
)
def test_a_record_that_cannot_be_a_particle_is_refused_by_number(
    tmp_path: Path, column: str, value: float, expected: str
) -> None:
    content = particles(4, increment=np.ones(4))
    content.x, content.weight = content.x + 0.5, content.weight.astype(float)
    getattr(content, column)[2] = value
    header = write_phase_space(
        tmp_path / "beam",
        content,
        stored=("x", "y", "z", "u", "v", "w", "weight"),
        extra_longs=(1,),
        blocks={"PHOTONS": "4"},
    )
    message = _refusal(header)
    assert "record 2 (byte 66)" in message
    assert expected in message


def test_a_constant_direction_that_is_no_unit_vector_is_refused(tmp_path: Path) -> None:
    content = particles(3, u=0.1, w=1.0)
    assert "unit vector" in _refusal(write_phase_space(tmp_path / "beam", content, stored=("x", "y", "u", "v")))


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_wrong_byte_order_is_noticed(tmp_path: Path, order: str) -> None:
    random = np.random.default_rng(3)
    content = particles(
        500, x=random.normal(size=500), energy=random.uniform(0.1, 6.0, 500), u=random.uniform(size=500) / 9
    )
    said, right = {"<": ("4321", "1234"), ">": ("1234", "4321")}[order]
    message = _refusal(write_phase_space(tmp_path / "beam", content, order=order, blocks={"BYTE_ORDER": said}))
    assert f"BYTE_ORDER: {said} found" in message
    assert f"only as {right}" in message


def test_missing_files_are_refused_by_name(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", particles(3))
    header.with_suffix(".IAEAphsp").unlink()
    assert "beam.IAEAphsp" in _refusal(header)
    header.unlink()
    assert "beam.IAEAheader" in _refusal(header)


@pytest.mark.parametrize(
    ("target_z", "z", "sign"), [(0.0, 28.0, 1.0), (267.0, 26.7, 1.0), (1000.0, 60.0, -1.0), (0.0, 26.7, -1.0)]
)
def test_a_plane_that_is_not_between_target_and_jaws_is_refused(
    tmp_path: Path, target_z: float, z: float, sign: float
) -> None:
    header = write_phase_space(tmp_path / "beam", particles(3, z=z, w=sign))
    message = _refusal(header, target_z=target_z)
    assert "machine.phase_space.target_z" in message
    assert "279.4" in message


@pytest.mark.parametrize(("target_z", "z", "sign"), [(0.0, 26.7, 1.0), (1000.0, 73.3, -1.0), (-267.0, 0.0, 1.0)])
def test_a_plane_above_the_jaws_is_taken_wherever_the_origin_is(
    tmp_path: Path, target_z: float, z: float, sign: float
) -> None:
    header = write_phase_space(tmp_path / "beam", particles(3, z=z, w=sign))
    summary = inspect_phase_space(PhaseSpaceConfig(files=(header,), target_z=target_z), STX)
    assert summary.files[0].plane == pytest.approx((267.0, 267.0), abs=1e-4)


def test_more_histories_than_the_header_says_are_refused(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", particles(4), original_histories=3)
    assert "ORIG_HISTORIES 3" in _refusal(header)
    content = particles(4, increment=np.array([2, 0, 3, 1]), new=np.array([True, False, True, True]))
    header = write_phase_space(tmp_path / "other", content, extra_longs=(1,), original_histories=5)
    message = _refusal(header)
    assert "add up to 6" in message
    assert "ORIG_HISTORIES 5" in message


def test_marks_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    content = particles(4, increment=np.array([1, 0, 1, 1]), new=np.array([True, False, False, True]))
    message = _refusal(write_phase_space(tmp_path / "beam", content, extra_longs=(1,), original_histories=10))
    assert "record 2" in message
    assert "contradict" in message


def test_the_same_particles_twice_are_refused(tmp_path: Path) -> None:
    first = write_phase_space(tmp_path / "one", particles(3))
    second = write_phase_space(tmp_path / "two", particles(3))
    with pytest.raises(InputError, match=r"two\.IAEAphsp holds the same particles as one\.IAEAphsp"):
        inspect_phase_space(PhaseSpaceConfig(files=(first, second)), STX)


def test_statistics_that_do_not_fit_and_an_unusual_energy_are_said(tmp_path: Path) -> None:
    blocks: dict[str, str | None] = {"STATISTICAL_INFORMATION_PARTICLES": "// comment\n 3 1 1 2.0 1 1 PHOTONS"}
    header = write_phase_space(tmp_path / "beam", particles(3), blocks=blocks)
    warnings = " ".join(inspect_phase_space(PhaseSpaceConfig(files=(header,)), STX).warnings)
    assert "mean energy of the photons: 1 found" in warnings
    assert "says 2" in warnings
    assert "unusual for a beam of 6 MV" in warnings


def test_public_example_files_are_read_as_their_headers_say(shared_folder: Callable[[str], Path]) -> None:
    folder = shared_folder("data/iaea_phsp")
    example = inspect_phase_space(PhaseSpaceConfig(files=(folder / "PSF_example.IAEAheader",)), STX)
    assert example.files[0].counts == dict.fromkeys(("photons", "electrons", "positrons", "neutrons", "protons"), 40)
    assert (example.histories, example.original_histories) == (120, 1000)
    assert example.files[0].marks is HistoryMarks.INCREMENTS
    # Its header states mean energies and weights, and they fit; neutrons and protons are said.
    assert not any("mean energy" in warning or "weight" in warning for warning in example.warnings)
    assert any("40 neutrons and 40 protons" in warning for warning in example.warnings)
    gate = inspect_phase_space(PhaseSpaceConfig(files=(folder / "waterbox.IAEAheader",)), STX)
    assert gate.files[0].marks is HistoryMarks.NONE
    assert gate.histories == 10
    assert any("marks no beginnings" in warning for warning in gate.warnings)


def _config_refusal(phase_space: dict[str, object], source: str = "phase_space") -> str:
    with pytest.raises(InputError) as caught:
        validate_config({"machine": {"source": source, "phase_space": phase_space}}, source="config.yaml")
    return str(caught.value)


def test_a_configuration_of_a_phase_space_is_validated_by_key(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", particles(3))
    validate_config({"machine": {"source": "phase_space", "phase_space": {"files": [str(header)]}}}, source="c")
    assert "machine" in _config_refusal({})
    assert "names no file" in _config_refusal({})
    gone = str(tmp_path / "gone.IAEAheader")
    assert f"machine.phase_space.files: {gone} is not there" in _config_refusal({"files": [gone]})
    assert "IAEAheader" in _config_refusal({"files": [str(header.with_suffix(".IAEAphsp"))]})
    assert "twice" in _config_refusal({"files": [str(header), str(header)]})
    assert "recycle" in _config_refusal({"files": [str(header)], "recycle": 0})
    assert "along each other" in _config_refusal({"files": [str(header)], "x_axis": "+x", "y_axis": "-x"})
    assert "machine.phase_space.x_axis" in _config_refusal({"files": [str(header)], "x_axis": "x"})
    header.with_suffix(".IAEAphsp").unlink()
    assert "beam.IAEAphsp is not there" in _config_refusal({"files": [str(header)]})


def test_the_source_model_is_the_default() -> None:
    assert load_config(Path(__file__).resolve().parents[2] / "config.yaml").machine.source == "model"
