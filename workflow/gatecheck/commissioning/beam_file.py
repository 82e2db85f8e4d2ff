"""Writing a fitted beam as beam_*.yaml, each section with its source."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gatecheck.commissioning.fit import FitResult
from gatecheck.commissioning.parameters import SPOT_SCALE
from gatecheck.files import write_atomically
from gatecheck.linac.model import Beam, BeamFit, FittedValue

FITTED_TO: dict[str, str] = {
    "spectrum": "depth doses beyond 10 mm, and all else through it",
    "off_axis": "profiles inside 80 % of the field width",
    "extra_focal": "output factors, and profiles outside the field's edges",
    "contaminant_electrons": "depth doses above 10 mm",
    "focal_spot": "penumbrae at 15 mm depth, detector folded in",
}
"""Which data determine which section; all parameters are fitted to all data at once."""

_SCALES = ("off_axis.softening_scale", SPOT_SCALE.name)
_DIGITS = 6
_FITTED_NOTE = re.compile(r"\s*Fitted values:.*$", re.DOTALL)


def fitted_beam(result: FitResult, *, data_source: str, data_sha256: str) -> Beam:
    """The beam with a record of its fit, and with each fitted section's source saying so.

    Scales count from what the tables were before any fit: a fit of a fitted beam multiplies them.
    """
    scale_before = {
        name: result.beam.fit.parameters[name].value
        for name in _SCALES
        if result.beam.fit is not None and name in result.beam.fit.parameters
    }
    parameters = {
        one.parameter.name: FittedValue(
            value=one.value * scale_before.get(one.parameter.name, 1.0),
            uncertainty=one.uncertainty * scale_before.get(one.parameter.name, 1.0),
            unit=one.parameter.unit,
            fitted_to=FITTED_TO[one.parameter.name.split(".")[0]],
            at_bound=one.at_bound,
        )
        for one in result.parameters
    }
    sections: dict[str, Any] = {}
    for name in sorted({key.split(".")[0] for key in parameters}):
        section = getattr(result.beam, name)
        names = ", ".join(key.split(".", 1)[1] for key in parameters if key.startswith(f"{name}."))
        said = _FITTED_NOTE.sub("", section.source)
        sections[name] = section.model_copy(
            update={"source": f"{said} Fitted values: {names}, to {FITTED_TO[name]}; see fit."}
        )
    fit = BeamFit(
        source=f"Least squares by gatecheck commission, to: {data_source}",
        beam_data_sha256=data_sha256,
        chi_squared=result.chi_squared,
        degrees_of_freedom=result.degrees_of_freedom,
        parameters=parameters,
    )
    return Beam.model_validate(result.beam.model_copy(update={**sections, "fit": fit}).model_dump())


def write_beam(path: Path, beam: Beam) -> None:
    """Write beam_*.yaml.

    Raises
    ------
    WriteError
    """
    content = _rounded(beam.model_dump(mode="json", exclude_none=True))
    with write_atomically(path) as temporary:
        temporary.write_text(
            "# Photon source, fitted by gatecheck commission. Lengths in mm, energies in MeV.\n"
            + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True),
            encoding="utf-8",
        )


class _Dumper(yaml.SafeDumper):
    """Lists of numbers on one line, long texts folded."""


def _sequence(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = ">" if len(value) > 80 else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_REPRESENTERS: tuple[tuple[type, Callable[..., yaml.Node]], ...] = ((list, _sequence), (str, _text))
for _kind, _representer in _REPRESENTERS:
    _Dumper.add_representer(_kind, _representer)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value
