# SPDX-License-Identifier: MIT
"""Figures stay where they are shown: none of plotly's buttons leads to a server or a site.

By default each figure of plotly.js 4 has a button that uploads it to cloud.plotly.com, and a logo that opens
plotly.com (``sendChartToCloud`` and ``displaylogo`` in plotly.js). No page policy stops either: both open a window.
"""

from __future__ import annotations

from typing import Any

import plotly.io

# For pages, widgets and live figures alike; no figure can bring back what is left out here.
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d"],
}
# What a figure carries itself, wherever it is shown: in a file of the reader's, or by a renderer of theirs.
MODEBAR = {"remove": CONFIG["modeBarButtonsToRemove"]}


def keep_offline() -> None:
    """Let every renderer of plotly show figures so: a notebook shows them by one of these."""
    for name in plotly.io.renderers:
        renderer = plotly.io.renderers[name]
        if hasattr(renderer, "config"):
            renderer.config = {**(renderer.config or {}), **CONFIG}
