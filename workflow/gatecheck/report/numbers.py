"""How numbers are written, in every part of the report."""

from __future__ import annotations

THIN = "\N{NARROW NO-BREAK SPACE}"
NO_BREAK = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

_TIMES = "\N{MULTIPLICATION SIGN}"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALLEST_POWER = 1e5


def number(value: float, digits: int = 0) -> str:
    """A number with thin spaces between thousands, and no minus before a zero."""
    return f"{value:z,.{digits}f}".replace(",", THIN).replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """A difference: with its sign, also where it is positive; what is written as zero has none."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and any(digit in text for digit in "123456789") else text


def significant(value: float, digits: int = 3) -> str:
    """So many significant digits."""
    if abs(value) >= _SMALLEST_POWER:
        return power(value)
    return f"{value:.{digits}g}".replace("-", MINUS)


def power(value: float) -> str:
    """A large number as two digits and a power of ten, a smaller one as it is."""
    if abs(value) < _SMALLEST_POWER:
        return number(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}{NO_BREAK}{_TIMES}{NO_BREAK}10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", MINUS)
