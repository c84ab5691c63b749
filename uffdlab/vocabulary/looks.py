# SPDX-License-Identifier: MIT
"""Colours (Okabe–Ito), and the look of a thing, the same in every figure."""

from __future__ import annotations

from typing import NamedTuple

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#777777"
BESIDE_GREY, LIGHT = "#808080", "#DDDDDD"  # a second dataset; untouched memory and idle slots
# Parts of a whole, by rank: one hue that no thing has, from light to dark, so that they differ in grey as well.
PARTS = ("#D5D0EC", "#B9B1DD", "#9D93CD", "#8175BB", "#6658A4", "#4B3D89", "#31256A")
BOUND_SYMBOL = "triangle-left"  # an upper bound: the value lies at or below it


class Look(NamedTuple):
    """Colour, symbol (plotly's name of it) and dash of a line."""

    colour: str
    symbol: str
    dash: str = "solid"
