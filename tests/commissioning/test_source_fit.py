"""The fit finds the source that the beam data were made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_responses import made_set

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.beam_file import fitted_beam, write_beam
from gatecheck.commissioning.fit import fit, predict
from gatecheck.commissioning.judgement import judge
from gatecheck.commissioning.observations import Observation, Quantity
from gatecheck.commissioning.parameters import PARAMETERS, start_values, with_values
from gatecheck.commissioning.water.source_basis import basis_for
from gatecheck.linac.load import load_linac_model

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
FIELDS = tuple(JawField.of_size(side, side) for side in (40.0, 100.0, 300.0))


def observed(
    quantity: Quantity, jaws: JawField, depth: float, *, off_axis: float = 0.0, axis: str = "x", sigma: float = 0.3
) -> Observation:
    return Observation(quantity, jaws, FIELDS[1], 1000.0, depth, off_axis, axis, 0.0, sigma, 6.0)


def plan_of_measurement() -> list[Observation]:
    seen = [
        observed("depth_dose", jaws, depth)
        for jaws in FIELDS
        for depth in (3.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 200.0, 300.0)
    ]
    seen += [
        observed("profile", FIELDS[2], depth, off_axis=x)
        for depth in (15.0, 100.0)
        for x in np.arange(20.0, 130.0, 20.0)
    ]
    seen += [observed("penumbra_80_20", FIELDS[1], 15.0), observed("width_50", FIELDS[1], 15.0)]
    seen += [observed("output_factor", jaws, 50.0, sigma=0.003) for jaws in (FIELDS[0], FIELDS[2])]
    return seen


@pytest.fixture(scope="module")
def linac():
    return load_linac_model(MODELS / "truebeam_stx")


@pytest.fixture(scope="module")
def responses(linac):
    basis = basis_for(linac.beam, opening_radius=250.0, axis_distance=1000.0)
    return made_set(basis, FIELDS)


def test_the_fit_finds_the_source_that_the_data_were_made_with(linac, responses) -> None:
    """No noise: every number is met to a hundredth of its uncertainty, and the well-determined parameters come back."""
    names = [parameter.name for parameter in PARAMETERS]
    truth = start_values(linac.beam)
    for name, value in (
        ("spectrum.aluminium", 35.0),
        ("extra_focal.fraction", 0.06),
        ("contaminant_electrons.per_photon", 0.022),
        ("focal_spot.scale", 1.2),
    ):
        truth[names.index(name)] = value
    for place, name in enumerate(names):
        if "@" in name:  # a horn that is a tenth higher, as smooth as before
            truth[place] = 1.0 + 1.1 * (truth[place] - 1.0)
    plan = plan_of_measurement()
    made = predict(with_values(linac.beam, truth), 1.2, plan, responses)
    data = [replace(seen, value=found.value) for seen, found in zip(plan, made, strict=True)]
    result = fit(linac.beam, data, responses)
    pulls = [(found.value - seen.value) / seen.sigma for seen, found in zip(data, result.simulated, strict=True)]
    assert np.max(np.abs(pulls)) < 0.2
    found = {one.parameter.name: one.value for one in result.parameters}
    assert found["focal_spot.scale"] == pytest.approx(1.2, abs=0.02)
    assert found["off_axis.relative_fluence@60"] == pytest.approx(
        truth[names.index("off_axis.relative_fluence@60")], abs=0.01
    )
    assert all(one.passed for one in judge(data, result.simulated))


def test_a_tampered_number_fails_the_table(linac, responses) -> None:
    plan = plan_of_measurement()
    made = predict(linac.beam, 1.0, plan, responses)
    data = [replace(seen, value=found.value) for seen, found in zip(plan, made, strict=True)]
    data[6] = replace(data[6], value=data[6].value + 1.2)
    judged = judge(data, made)
    assert [number for number, one in enumerate(judged) if not one.passed] == [6]


def test_the_fitted_beam_is_a_beam_file_that_loads(linac, responses, tmp_path: Path) -> None:
    plan = plan_of_measurement()
    made = predict(linac.beam, 1.0, plan, responses)
    data = [replace(seen, value=found.value) for seen, found in zip(plan, made, strict=True)]
    found = fit(linac.beam, data, responses)
    beam = fitted_beam(found, data_source="made by formula", data_sha256="0" * 64)
    assert beam.fit is not None
    assert linac.beam.fit is not None
    # Scales multiply from fit to fit.
    (scale,) = [one.value for one in found.parameters if one.parameter.name == "off_axis.softening_scale"]
    before, after = (one.fit.parameters["off_axis.softening_scale"].value for one in (linac.beam, beam))
    assert after == pytest.approx(scale * before, rel=1e-12)
    folder = tmp_path / "machine"
    folder.mkdir()
    for name in ("machine.yaml", "calibration.yaml"):
        (folder / name).write_text((MODELS / "truebeam_stx" / name).read_text())
    write_beam(folder / "beam_6x.yaml", beam)
    loaded = load_linac_model(folder).beam
    assert loaded.fit is not None
    assert set(loaded.fit.parameters) == {parameter.name for parameter in PARAMETERS}
    assert loaded.spectrum.aluminium == pytest.approx(beam.spectrum.aluminium, rel=1e-5)
    assert "Ali and Rogers" in loaded.spectrum.source
    # Commissioned again, a section's source does not grow.
    again = fitted_beam(fit(loaded, data, responses), data_source="made by formula", data_sha256="0" * 64)
    assert len(again.spectrum.source) == len(beam.spectrum.source)
