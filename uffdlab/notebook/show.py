# SPDX-License-Identifier: MIT
"""Tables, sentences and ratios as a notebook shows them."""

from __future__ import annotations

import html
from collections.abc import Callable
from numbers import Integral
from typing import Any

import pandas as pd

from uffdlab import units
from uffdlab.claims.verdict import with_interval as estimate_with_interval
from uffdlab.stats import Estimate
from uffdlab.units import format_ns, format_size


class Table:
    """A frame as a plain table; equal frames give equal bytes."""

    def __init__(self, frame: pd.DataFrame, *, index: bool = True) -> None:
        """Show ``frame``, with its index as row headings unless ``index`` is False."""
        self.frame = frame
        self._index = index

    def _repr_html_(self) -> str:
        words = _in_words(self.frame)
        table = words.to_html(
            border=0, index=self._index, na_rep=_LACKING, justify="unset", index_names=False,
            formatters=_formatters(words),
        )  # fmt: skip
        # pandas would give the name of the index a row of its own.
        corner = f"<th>{html.escape(str(self.frame.index.name or ''))}</th>"
        return str(table.replace("<th></th>", corner, 1) if self._index else table)

    def __repr__(self) -> str:
        """Return the table as text."""
        words = _in_words(self.frame)
        return words.to_string(index=self._index, na_rep=_LACKING, formatters=_formatters(words))


_LACKING = "not measured"


def _in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with missing cells and headings, and missing rows, replaced by words.

    pandas replaces NaN alone, and shows ``<NA>`` and ``None``.
    """
    if frame.empty:
        return pd.DataFrame({str(next(iter(frame.columns), "rows")): [_LACKING]})
    words = frame.set_axis(_headings(frame.index)).set_axis(_headings(frame.columns), axis=1)
    for at in range(len(words.columns)):
        cells = words.iloc[:, at]
        if cells.isna().any():
            words.isetitem(at, list(cells.astype("float64")) if cells.dtype.kind == "f" else [*map(_cell, cells)])
    return words


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
    """A computed sentence, shown as a paragraph."""

    def __init__(self, text: str) -> None:
        """Show ``text``."""
        self.text = text

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.text)}</p>"

    def __repr__(self) -> str:
        """Return the sentence."""
        return self.text


def with_interval(ratio: Estimate | None) -> str:
    """Return a ratio with its interval as text."""
    if ratio is None:
        return "no value: a time of 0 ns"
    return estimate_with_interval(ratio, without=" (too few processes)")


def ratio_with_interval(row: Any, column: str) -> str:
    """Return a column of ratios of a row, with its interval, as text."""
    value, low, high = (getattr(row, f"{column}{end}") for end in ("", "_low", "_high"))
    return with_interval(None if pd.isna(value) else Estimate(value, low, high, 0))


def time_with_interval(row: Any, column: str) -> str:
    """Return a column of times of a row, with its interval, as text."""
    value, low, high = (getattr(row, f"{column}{end}") for end in ("", "_low", "_high"))
    if pd.isna(value):
        return "not measured"
    return units.with_interval(value, low, high, format_ns)


def size_of_kib(kib: float) -> str:
    """Return a size given in KiB as text."""
    return "not measured" if pd.isna(kib) else format_size(kib * 1024)
