# SPDX-License-Identifier: MIT
"""The figures of a grid for a page: the first in full, the others as differences from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import plotly.graph_objects as go

from uffdlab.errors import UffdlabError
from uffdlab.units import format_size

BUDGET_BYTES = 400 << 10
_DENSE: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}


def as_json(figure: Any) -> dict[str, Any]:
    """Return a plotly figure as plain values. Raises UffdlabError on anything else."""
    if not isinstance(figure, go.Figure):
        raise UffdlabError(f"the function returned {type(figure).__name__}, not a plotly figure: return a go.Figure")
    found: dict[str, Any] = json.loads(figure.to_json())
    found.pop("frames", None)
    return found


def bake(fn: Callable[..., go.Figure], axes: Mapping[str, Sequence[Any]], title: str) -> dict[str, Any]:
    """Return every figure of a grid: ``first`` in full, ``patches`` by index (``"0,2"``) for the others.

    A point at which the function fails has a sentence in place of a patch. Raises UffdlabError above 400 KiB.
    """
    first: dict[str, Any] | None = None
    patches: dict[str, Any] = {}
    for indices in product(*(range(len(values)) for values in axes.values())):
        point = {name: values[i] for (name, values), i in zip(axes.items(), indices, strict=True)}
        key = ",".join(map(str, indices))
        try:
            figure = as_json(fn(**point))
        # Show the reader what their own function raises.
        except Exception as error:
            patches[key] = f"{type(error).__name__}: {error}"
            continue
        first = figure if first is None else first
        patches[key] = list(_differences(first, figure))
    baked = {"first": first or {}, "patches": patches}
    size = len(json.dumps(baked, **_DENSE).encode())
    if size > BUDGET_BYTES:
        raise UffdlabError(
            f"{title}: its {len(patches)} figures take {format_size(size)} of a page, and {format_size(BUDGET_BYTES)} "
            "are allowed: give its sliders a coarser grid, or draw less"
        )
    return baked


def _differences(first: Any, other: Any, path: tuple[Any, ...] = ()) -> Iterator[list[Any]]:
    """Yield ``[path, value]`` for the smallest parts that differ."""
    if first == other:
        return
    if isinstance(first, dict) and isinstance(other, dict) and first.keys() == other.keys():
        for key in first:
            yield from _differences(first[key], other[key], (*path, key))
    elif isinstance(first, list) and isinstance(other, list) and len(first) == len(other) and _records(first):
        for index, (before, after) in enumerate(zip(first, other, strict=True)):
            yield from _differences(before, after, (*path, index))
    else:
        yield [list(path), other]


def _records(values: list[Any]) -> bool:
    """Whether a list has records (traces, annotations), which are patched one by one, and not numbers."""
    return bool(values) and all(isinstance(value, dict) for value in values)
