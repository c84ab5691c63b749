# SPDX-License-Identifier: MIT
"""Plotly's configuration without buttons that open a server or a site.

By default each figure of plotly.js 4 has a button that uploads it to cloud.plotly.com, and a logo that opens
plotly.com (``sendChartToCloud`` and ``displaylogo`` in plotly.js). No page policy stops either: both open a window.
"""

from __future__ import annotations

from typing import Any

import plotly.io

# For pages, widgets and live figures.
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d"],
}
# In the layout of each figure, for files and renderers of the reader's.
MODEBAR = {"remove": CONFIG["modeBarButtonsToRemove"]}


def keep_offline() -> None:
    """Set ``CONFIG`` in every renderer of plotly."""
    for name in plotly.io.renderers:
        renderer = plotly.io.renderers[name]
        if hasattr(renderer, "config"):
            renderer.config = {**(renderer.config or {}), **CONFIG}
