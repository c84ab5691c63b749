# SPDX-License-Identifier: MIT
"""Colours (Okabe–Ito), and the look of a thing, the same in every figure."""

from __future__ import annotations

from typing import NamedTuple

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#777777"
HERE_GREY, LIGHT = "#808080", "#DDDDDD"  # this machine; untouched memory and idle slots
BOUND_SYMBOL = "triangle-left"  # an upper bound: the value lies at or below it


class Look(NamedTuple):
    """Colour, symbol (plotly's name of it) and dash of a line."""

    colour: str
    symbol: str
    dash: str = "solid"
