# SPDX-License-Identifier: MIT
"""Widgets that work in a live notebook and, without a kernel, in the one HTML file that was mailed.

:func:`explore` gives any function of a few parameters controls and a figure; :class:`DesignExplorer` and
:class:`PageTableView` run the simulator in the page.
"""

from __future__ import annotations

from .design_explorer import DesignExplorer
from .explore import Choice, Explorer, Slider, explore
from .page_table_view import PageTableView

__all__ = ["Choice", "DesignExplorer", "Explorer", "PageTableView", "Slider", "explore"]
