# SPDX-License-Identifier: MIT
"""How a notebook shows frames, sentences and ratios."""

from __future__ import annotations

import html
from collections.abc import Callable
from numbers import Integral
from typing import Any

import pandas as pd

from uffdlab.stats import Estimate
from uffdlab.units import format_ns, format_ratio, format_size


class Table:
    """A frame shown as a plain table: the same bytes whenever the same frame is shown."""

    def __init__(self, frame: pd.DataFrame, *, index: bool = True) -> None:
        """Show ``frame``, with its index as row headings unless ``index`` is False."""
        self.frame = frame
        self._index = index

    def _repr_html_(self) -> str:
        told = _told(self.frame)
        shown = told.to_html(
            border=0, index=self._index, na_rep=_LACKING, justify="unset", index_names=False,
            formatters=_formatters(told),
        )  # fmt: skip
        # pandas would give the name of the index a row of its own.
        corner = f"<th>{html.escape(str(self.frame.index.name or ''))}</th>"
        return str(shown.replace("<th></th>", corner, 1) if self._index else shown)

    def __repr__(self) -> str:
        """Return the table as text."""
        told = _told(self.frame)
        return told.to_string(index=self._index, na_rep=_LACKING, formatters=_formatters(told))


_LACKING = "not measured"


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame as it is shown: that a cell or a heading is missing, or that there are no rows, in words.

    Of what is missing pandas replaces NaN alone, and shows the rest as ``<NA>`` and ``None``.
    """
    if frame.empty:
        return pd.DataFrame({str(next(iter(frame.columns), "rows")): [_LACKING]})
    told = frame.set_axis(_headings(frame.index)).set_axis(_headings(frame.columns), axis=1)
    for at in range(len(told.columns)):
        cells = told.iloc[:, at]
        if cells.isna().any():
            told.isetitem(at, list(cells.astype("float64")) if cells.dtype.kind == "f" else [*map(_cell, cells)])
    return told


def _headings(names: pd.Index) -> pd.Index:
    whole = isinstance(names, pd.MultiIndex) or names.notna().all()
    return names if whole else pd.Index([*map(_cell, names)], name=names.name)


def _cell(value: Any) -> Any:
    if pd.isna(value):
        return _LACKING
    return f"{value:,}" if isinstance(value, Integral) and not isinstance(value, bool) else value


def _formatters(frame: pd.DataFrame) -> dict[Any, Callable[[Any], str]]:
    whole = [name for name in frame if pd.api.types.is_integer_dtype(frame[name])]
    return dict.fromkeys(whole, lambda value: f"{value:,}")


class Sentence:
    """A sentence that was computed, shown as a paragraph."""

    def __init__(self, text: str) -> None:
        """Show ``text``."""
        self.text = text

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.text)}</p>"

    def __repr__(self) -> str:
        """Return the sentence."""
        return self.text


def with_interval(found: Estimate | None) -> str:
    """Return a ratio with its interval in words."""
    if found is None:
        return "no value: a time of 0 ns"
    interval = (
        f" ({format_ratio(found.low)} to {format_ratio(found.high)})"
        if found.low is not None and found.high is not None
        else " (too few processes)"
    )
    return f"{format_ratio(found.value)}{interval}"


def time_with_interval(row: Any, column: str) -> str:
    """Return a column of times of a row, with its interval, in words."""
    value, low, high = (getattr(row, f"{column}{end}") for end in ("", "_low", "_high"))
    if pd.isna(value):
        return "not measured"
    return format_ns(value) + ("" if pd.isna(low) or pd.isna(high) else f" ({format_ns(low)} to {format_ns(high)})")


def size_of_kib(kib: float) -> str:
    """Return a size given in KiB in words."""
    return "not measured" if pd.isna(kib) else format_size(kib * 1024)
