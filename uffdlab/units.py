# SPDX-License-Identifier: MIT
"""Sizes as people write them: IEC prefixes are powers of 1024, SI prefixes powers of 1000, and K alone is neither."""

from __future__ import annotations

import re
from math import isfinite, isnan

from uffdlab.errors import UffdlabError

_FACTORS = {"": 1, "B": 1}
_FACTORS |= {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)}
_FACTORS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", start=1)}
_SIZE = re.compile(r"\s*(-?\d{1,30}(?:\.\d{1,30})?)\s*([A-Za-z]*)\s*\Z")  # more digits are no size of anything


def parse_size(text: str) -> int:
    """Return the bytes that ``4GiB``, ``1.5GiB``, ``4096`` or ``2MB`` stand for.

    Raises UffdlabError when the text is no size, or not a whole number of bytes.
    """
    found = _SIZE.match(text)
    if not found or found[2] not in _FACTORS:
        raise UffdlabError(f"{text!r} is not a size: write a number with B, KiB, MiB, GiB or TiB, such as 4GiB")
    whole, _, decimals = found[1].partition(".")
    scaled, left = divmod(int(whole + decimals) * _FACTORS[found[2]], int(10 ** len(decimals)))
    if left:
        raise UffdlabError(f"{text!r} is not a whole number of bytes: choose a size such as 1.5GiB")
    return scaled


def format_size(size_bytes: float) -> str:
    """Return a size with the largest IEC prefix that keeps it at 1 or more: ``262144`` becomes ``256 KiB``."""
    if not isfinite(size_bytes):
        return _no_number(size_bytes)
    value, prefixes = float(size_bytes), iter(["B", "KiB", "MiB", "GiB", "TiB"])
    unit = next(prefixes)
    while abs(value) >= 1024 and unit != "TiB":
        value, unit = value / 1024, next(prefixes)
    return f"{value:.4g} {unit}"


def format_ns(ns: float) -> str:
    """Return a time with the SI unit that suits it: ``1234567`` becomes ``1.23 ms``."""
    if not isfinite(ns):
        return _no_number(ns)
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if abs(ns) >= factor:
            return f"{ns / factor:.3g} {unit}"
    return f"{ns:.3g} ns"


def format_ratio(value: float) -> str:
    """Return a ratio with the digits it deserves: three below 100, whole numbers with separators above."""
    if not isfinite(value):
        return _no_number(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_share(share: float, decimals: int = 0) -> str:
    """Return a share of 1 as a percentage."""
    return f"{share:.{decimals}%}" if isfinite(share) else _no_number(share)


def _no_number(value: float) -> str:
    return "not known" if isnan(value) else "without bound"
