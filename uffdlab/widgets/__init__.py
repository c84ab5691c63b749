# SPDX-License-Identifier: MIT
"""Widgets for a live notebook and, without a kernel, for a one-file HTML page.

:func:`explore` gives any function of a few parameters controls and a figure; :class:`DesignExplorer` and
:class:`PageTableView` run the simulator in the page.
"""

from __future__ import annotations

from .design_explorer import DesignExplorer
from .explore import Choice, Explorer, Slider, explore
from .page_table_view import PageTableView

__all__ = ["Choice", "DesignExplorer", "Explorer", "PageTableView", "Slider", "explore"]
