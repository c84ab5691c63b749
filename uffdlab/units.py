# SPDX-License-Identifier: MIT
"""Parse and format sizes, times and other numbers.

In sizes, IEC prefixes are powers of 1024, SI prefixes powers of 1000, and K alone is refused. Numbers are ASCII digits
with an optional sign, point and exponent; other forms that Python reads (``1_000``, ``٣``, ``inf``) are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from math import isfinite, isnan
from numbers import Real

from uffdlab.errors import UffdlabError

_FACTORS = {"": 1, "B": 1}
_FACTORS |= {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)}
_FACTORS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", start=1)}
_DIGITS = r"[0-9]{1,2000}(?:\.[0-9]{1,2000})?"  # Python refuses more than 4300
_SIZE = re.compile(rf"\s*([+-]?{_DIGITS})\s*([A-Za-z]*)\s*\Z", re.ASCII)
_NUMBER = re.compile(rf"\s*([+-]?(?:{_DIGITS}|\.[0-9]{{1,2000}})(?:[eE][+-]?[0-9]{{1,3}})?)\s*\Z", re.ASCII)
_MOST_SHOWN = 40  # characters of an invalid text
LARGEST_SIZE = (1 << 63) - 1  # bytes: C and the kernel count no further
LARGEST_SEED = (1 << 63) - 1
NO_SPREAD = "without spread"  # of an interval of no width, where it is not known of how many processes


def parse_size(text: str, option: str | None = None) -> int:
    """Return the bytes of ``4GiB``, ``1.5GiB``, ``4096`` or ``2MB``.

    Raises UffdlabError, naming the option if there is one, when the text is no size, or not a whole number of bytes.
    """
    named = f"{option} {shown(text)}" if option else shown(text)
    match = _SIZE.match(text)
    if not match or match[2] not in _FACTORS:
        raise UffdlabError(f"{named} is not a size: write a number with B, KiB, MiB, GiB or TiB, such as 4GiB")
    size = Fraction(match[1]) * _FACTORS[match[2]]
    if size.denominator != 1:
        raise UffdlabError(f"{named} is not a whole number of bytes: choose a size such as 1.5GiB")
    if abs(size) > LARGEST_SIZE:
        raise UffdlabError(f"{named} is not a size of any memory: choose one below 8 EiB, such as 4GiB")
    return int(size)


def parse_whole(text: str, option: str, least: int, most: int) -> int:
    """Return the whole number of ``9``, ``+9`` or ``1e6``, from ``least`` to ``most``.

    Raises UffdlabError naming the option and its bounds.
    """
    value = _parsed(text)
    if value is None or value.denominator != 1 or not least <= value <= most:
        raise UffdlabError(f"{option} {shown(text)} is not a whole number from {least} to {most}")
    return int(value)


def parse_number(text: str, option: str, least: float, most: float, of: str = "") -> float:
    """Return the number of ``0.5`` or ``1e-3``, from ``least`` to ``most``; ``of`` names its unit, if any.

    Raises UffdlabError naming the option and its bounds.
    """
    value = _parsed(text)
    if value is None or not least <= value <= most:
        raise UffdlabError(
            f"{option} {shown(text)} is not a number{of and f' of {of}'} from {exact(least)} to {exact(most)}"
        )
    return float(value)


def _parsed(text: str) -> Fraction | None:
    match = _NUMBER.match(text)
    return Fraction(match[1]) if match else None


def shown(text: str, most: int = _MOST_SHOWN) -> str:
    """Return a text quoted on one line, shortened if it is long."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}… ({len(text)} characters)"


def exact(value: float) -> str:
    """Return the shortest digits that round-trip, as JavaScript writes them: ``1048577``, ``1e-7``."""
    if not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    digits = repr(float(value) + 0.0)
    if 1e-6 <= abs(value) < 1e21 or not value:
        return f"{Decimal(digits):f}".removesuffix(".0")
    return digits.replace("e-0", "e-")


def in_sizes(sizes_kib: Sequence[int]) -> str:
    """Return sizes as a range: ``1 GiB to 10 GiB``; without any they are not known."""
    if not sizes_kib:
        return "ranges of unknown size"
    least, most = (format_size(size * 1024) for size in (min(sizes_kib), max(sizes_kib)))
    return least if least == most else f"{least} to {most}"


def format_size(size_bytes: float) -> str:
    """Return a size with the largest IEC prefix that keeps it at 1 or more: ``262144`` becomes ``256 KiB``."""
    return _with_unit(size_bytes, 4, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def format_ns(ns: float) -> str:
    """Return a time with an SI unit: ``1234567`` becomes ``1.23 ms``."""
    return _with_unit(ns, 3, 1000, ("ns", "µs", "ms", "s"))


def format_ratio(value: float) -> str:
    """Return a ratio: three significant digits below 100, whole numbers with separators above."""
    if not isfinite(value):
        return _no_number(value)
    if abs(value) >= 100:
        return f"{Decimal(float(value)).to_integral_value(ROUND_HALF_UP):,f}"
    return f"{_rounded(value, 3):f}"


def _with_unit(value: float, digits: int, factor: int, units: tuple[str, ...]) -> str:
    """Return a number in the first unit in which it is below ``factor`` once it is rounded, or in the last."""
    if not isfinite(value):
        return _no_number(value)
    rounded = [_rounded(value / factor**power, digits) for power in range(len(units))]
    at = next((power for power, number in enumerate(rounded) if abs(number) < factor), -1)
    return f"{rounded[at]:f} {units[at]}"


# js/base.js has the same, held to this by tests/widgets/test_scripts.py.
def _rounded(value: float, digits: int) -> Decimal:
    """Return a number to so many significant digits, halves away from zero."""
    return Context(digits, ROUND_HALF_UP).create_decimal_from_float(float(value) + 0.0).normalize()


def format_share(share: float, decimals: int = 0) -> str:
    """Return a share of 1 as a percentage."""
    return f"{share:.{decimals}%}" if isfinite(share) else _no_number(share)


def with_interval(
    value: float,
    low: float | None,
    high: float | None,
    said: Callable[[float], str] = format_ratio,
    without: str = "",
    alike: str = NO_SPREAD,
) -> str:
    """Return a number with its interval in words: ``145 (78.2 to 200)``.

    ``said`` words each of them; ``without`` follows a number whose interval is not known (None, NaN or pandas' NA).
    Where both ends read as the number does, ``alike`` stands in their place: an interval of no width is none.

    >>> with_interval(145.2, 78.21, 200)
    '145 (78.2 to 200)'
    >>> with_interval(1500, None, None, format_ns, " (too few samples)")
    '1.5 µs (too few samples)'
    >>> with_interval(0, 0, 0, alike="in each of 12 processes")
    '0 (in each of 12 processes)'
    """
    if not isinstance(low, Real) or not isinstance(high, Real) or isnan(low) or isnan(high):
        return f"{said(value)}{without}"
    number, *ends = map(said, (value, low, high))
    return f"{number} ({alike})" if set(ends) == {number} else f"{number} ({ends[0]} to {ends[1]})"


def _no_number(value: float) -> str:
    return "not known" if isnan(value) else "without bound"
