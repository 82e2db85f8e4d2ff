"""Gamma rates of one tumour as a table: one row a part of space, one column a pair of criteria and direction."""

from __future__ import annotations

from dataclasses import dataclass

from gatecheck.compare.interface.model import GammaRate, InterfaceComparison


@dataclass(frozen=True, slots=True)
class GammaColumn:
    """Criteria, and whose points are asked."""

    criteria: str
    reference: str


@dataclass(frozen=True, slots=True)
class GammaRow:
    """One shell or gradient class; a rate is None where it has too few points."""

    name: str
    region: str
    volume_ml: float
    rates: tuple[GammaRate | None, ...]


@dataclass(frozen=True, slots=True)
class GammaTable:
    """Without columns where nothing was compared."""

    columns: tuple[GammaColumn, ...]
    shells: tuple[GammaRow, ...]
    gradients: tuple[GammaRow, ...]


def gamma_table(tumour: InterfaceComparison) -> GammaTable:
    """Arrange the rates; rows keep the order of the comparison."""
    every = [rate for shell in tumour.shells for rate in shell.gamma]
    every += [rate for one in tumour.gradient_classes for rate in one.gamma]
    columns = tuple(dict.fromkeys(GammaColumn(rate.criteria, rate.reference) for rate in every))
    return GammaTable(
        columns=columns,
        shells=tuple(
            GammaRow(shell.name, shell.region, shell.volume_ml, _in_columns(shell.gamma, columns))
            for shell in tumour.shells
        ),
        gradients=tuple(
            GammaRow(one.name, "", one.volume_ml, _in_columns(one.gamma, columns)) for one in tumour.gradient_classes
        ),
    )


def _in_columns(rates: tuple[GammaRate, ...], columns: tuple[GammaColumn, ...]) -> tuple[GammaRate | None, ...]:
    found = {GammaColumn(rate.criteria, rate.reference): rate for rate in rates}
    return tuple(found.get(column) for column in columns)
