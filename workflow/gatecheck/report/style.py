"""Colours, line styles and isodose levels: distinguishable without colour vision and in grey."""

from __future__ import annotations

from dataclasses import dataclass

from gatecheck.report.summary import Summary

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is too pale on white.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CURVES_PER_CHART = len(OKABE_ITO)

# Structures on CT: white, told apart by their letter and their dashes (line lengths in points).
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.2, 1.6), (6, 1.6, 1.2, 1.6), (9, 3), (3, 1.5))
STRUCTURES_ON_CT = len(DASHES)

# Isodoses rise in lightness as in dose, from blue to pale yellow: the order survives in grey.
ISODOSE_COLOURS = ("#3B6FD4", "#2A9DB8", "#45B97C", "#A6CE3F", "#FFC84A", "#FFF6C4")
PERCENT_OF_PRESCRIPTION = (20.0, 50.0, 80.0, 95.0, 100.0, 107.0)
PERCENT_OF_MAXIMUM = (10.0, 30.0, 50.0, 70.0, 90.0, 95.0)

DOSE_MAP = "plasma"
DIFFERENCE_MAP = "cividis"
SIGMA_MAP = "cividis"
DIFFERENCE_RANGE_PERCENT = 10.0
DELIVERED_RANGE_PERCENT = 3.0

WINDOW_LEVEL = 40.0
WINDOW_WIDTH = 500.0

# A prescription that the dose is nowhere near says more about the plan file than about the dose.
_PLAUSIBLE = (0.7, 2.0)


@dataclass(frozen=True, slots=True)
class Isodose:
    """One isodose line."""

    percent: float
    gray: float
    colour: str


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What 100 % is, in Gy and in words, and the isodoses drawn."""

    gray: float
    of_what: str
    note: str
    isodoses: tuple[Isodose, ...]


def normalisation(summary: Summary) -> Normalisation:
    """Isodoses as a share of the plan's target prescription, or else of the maximum dose.

    The maximum is used when the plan carries no prescription, or when the maximum of the Monte
    Carlo dose lies below 0.7 or above 2 times it: most isodoses would then show nothing.
    """
    prescription, maximum = summary.target_prescription_gy, summary.maximum_gy
    if prescription and _PLAUSIBLE[0] <= maximum / prescription <= _PLAUSIBLE[1]:
        return _normalised(prescription, "the target prescription dose of the plan", "", PERCENT_OF_PRESCRIPTION)
    note = "The plan carries no target prescription dose."
    if prescription:
        note = (
            f"The plan's target prescription dose is {prescription:.2f} Gy, the maximum of the Monte Carlo dose "
            f"{maximum:.2f} Gy: isodoses refer to the maximum instead."
        )
    return _normalised(maximum, "the maximum of the Monte Carlo dose", note, PERCENT_OF_MAXIMUM)


def _normalised(gray: float, of_what: str, note: str, percents: tuple[float, ...]) -> Normalisation:
    isodoses = tuple(
        Isodose(percent, percent / 100 * gray, colour)
        for percent, colour in zip(percents, ISODOSE_COLOURS, strict=True)
    )
    return Normalisation(gray, of_what, note, isodoses)
