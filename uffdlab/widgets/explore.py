# SPDX-License-Identifier: MIT
"""Controls for a function that draws a figure: any value in a live notebook, precomputed values in a page."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go
import traitlets

from uffdlab.errors import UffdlabError
from uffdlab.units import exact
from uffdlab.widgets.baking import as_json, bake
from uffdlab.widgets.base import View, asset
from uffdlab.widgets.views import Rules, number, one_of, record

# Set while a page is rendered: compute the figures of a grid, since a page has no kernel.
BAKING = "UFFDLAB_BAKE"

Format = Literal["number", "size", "ns", "percent"]
Figure = Callable[..., go.Figure]


@dataclass(frozen=True)
class Slider:
    """A number from ``low`` to ``high``. A page snaps to ``grid`` values of it, or to those that ``grid`` lists; all
    figures of the grid together may take 400 KiB.

    ``format``: a number (with ``unit``), a size (bytes), a time (ns) or a percentage.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False
    start: float | None = None
    grid: int | Sequence[float] = 9
    label: str = ""
    unit: str = ""
    format: Format = "number"

    def values(self) -> list[float]:
        """Return the values of a page, ascending."""
        if not isinstance(self.grid, int):
            return sorted(float(value) for value in self.grid)
        ends = (math.log2(self.low), math.log2(self.high)) if self.log else (self.low, self.high)
        at = [ends[0] + (ends[1] - ends[0]) * i / (self.grid - 1) for i in range(self.grid)]
        at = [2**value for value in at] if self.log else at
        if self.step and not self.log:
            at = [self.low + round((value - self.low) / self.step) * self.step for value in at]
        rounded = [float(round(value)) if self.whole else float(f"{value:.10g}") for value in at]
        # Steps and rounding must not leave the range.
        return sorted({min(max(value, float(self.low)), float(self.high)) for value in rounded})


@dataclass(frozen=True)
class Choice:
    """One of a few words; a page has all of them."""

    values: Sequence[str]
    start: str | None = None
    label: str = ""


Axis = Slider | Choice


def explore(fn: Figure, axes: Mapping[str, Axis | Sequence[Any]], *, title: str = "") -> Explorer:
    """Return controls for the parameters of a function that draws a plotly figure.

    ``axes`` names each parameter with a :class:`Slider`, a :class:`Choice`, or a sequence of words (a choice).

    >>> import plotly.graph_objects as go
    >>> line = lambda slope: go.Figure(go.Scatter(x=[0, 1], y=[0, slope]))
    >>> explore(line, {"slope": Slider(1, 5)}).state
    {'slope': 1.0}
    """
    known = {name: axis if isinstance(axis, Slider | Choice) else Choice(list(axis)) for name, axis in axes.items()}
    for name, axis in known.items():
        _check(name, axis)
    name = "-by-".join(["figure", *known]) if fn.__name__ == "<lambda>" else fn.__name__.replace("_", " ")
    return Explorer(fn, known, title or name)


def _check(name: str, axis: Axis) -> None:
    if isinstance(axis, Choice):
        words = list(axis.values)
        if not words or len(set(words)) != len(words) or not all(isinstance(word, str) for word in words):
            raise UffdlabError(f"{name}: a choice is of different words, at least one, not {words!r}")
        if axis.start is not None and axis.start not in words:
            raise UffdlabError(f"{name}: it cannot start at {axis.start!r}, which is none of {', '.join(words)}")
        return
    if not (math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low < axis.high):
        raise UffdlabError(f"{name}: a slider goes from a number to a larger one, not from {axis.low} to {axis.high}")
    if axis.log and axis.low <= 0:
        raise UffdlabError(f"{name}: a logarithmic slider begins above 0, not at {axis.low}")
    if axis.step is not None and not axis.step > 0:
        raise UffdlabError(f"{name}: its step is {axis.step}, and has to be above 0")
    if isinstance(axis.grid, int) and axis.grid < 2:
        raise UffdlabError(f"{name}: a page needs a grid of 2 values or more, not {axis.grid}")
    outside = [value for value in (*axis.values(), axis.low if axis.start is None else axis.start)
               if not axis.low <= value <= axis.high]  # fmt: skip
    if outside:
        raise UffdlabError(f"{name}: {exact(outside[0])} lies outside of {_ends(axis)}")


def _ends(axis: Slider) -> str:
    return f"{exact(axis.low)} to {exact(axis.high)}"


def _as_sent(name: str, axis: Axis) -> dict[str, Any]:
    label = axis.label or name.replace("_", " ")
    if isinstance(axis, Choice):
        return {"name": name, "label": label, "kind": "choice", "values": list(axis.values)}
    more = {name: getattr(axis, name) for name in ("step", "log", "whole", "unit", "format")}
    ends = {"min": float(axis.low), "max": float(axis.high), "grid": axis.values()}
    return {"name": name, "label": label, "kind": "slider"} | ends | more


def _rules(axes: Mapping[str, Axis]) -> Rules:
    fields = {
        name: one_of(axis.values, f"{name} is {{value}}, none of {', '.join(axis.values)}")
        if isinstance(axis, Choice)
        else number(
            name, f"{name} is {{value}}, outside of {_ends(axis)}", minimum=float(axis.low), maximum=float(axis.high)
        )
        for name, axis in axes.items()
    }
    return record(fields, f"this figure is moved by {', '.join(axes)}, not by {{value}}")


class Explorer(View):
    """The widget of :func:`explore`. ``state`` has a value for each parameter; setting it redraws."""

    kind = "explore"
    _esm = asset("explore.js")
    title = traitlets.Unicode().tag(sync=True)
    axes: Any = traitlets.List().tag(sync=True)
    figure = traitlets.Dict().tag(sync=True)
    wrong = traitlets.Unicode().tag(sync=True)
    baked = traitlets.Any(None, allow_none=True).tag(sync=True)

    def __init__(self, fn: Figure, axes: Mapping[str, Axis], title: str) -> None:
        """Draw the first figure; all of the grid, if a page is rendered."""
        self.fn, self.known = fn, dict(axes)
        start: dict[str, Any] = {}
        for name, axis in self.known.items():
            first = axis.values[0] if isinstance(axis, Choice) else float(axis.low)
            start[name] = first if axis.start is None else axis.start
        axes_sent = [_as_sent(*item) for item in self.known.items()]
        super().__init__(title=title, axes=axes_sent, rules=_rules(self.known), state=start)
        if os.environ.get(BAKING):
            grid = {name: axis.values if isinstance(axis, Choice) else axis.values() for name, axis in axes.items()}
            self.baked = bake(fn, grid, title)
        else:
            self._draw()
        self.observe(lambda _: self._draw(), "state")

    def _draw(self) -> None:
        if self.baked:
            return
        try:
            self.figure = as_json(self.fn(**self.state))
            self.wrong = ""
        # Show the reader what their own function raises.
        except Exception as error:
            self.wrong = f"{type(error).__name__}: {error}"
