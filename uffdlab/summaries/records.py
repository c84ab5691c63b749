# SPDX-License-Identifier: MIT
"""Rows of a frame as named tuples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows as named tuples, whose columns a type checker cannot know."""
    yield from frame.itertuples()
