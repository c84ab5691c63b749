# SPDX-License-Identifier: MIT
"""Log-binned latency histograms (eight bins per octave)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

_PER_OCTAVE = 8


def add_steps(figure: go.Figure, times: pd.Series, numbers: pd.Series, unit: str, what: str, **looks: Any) -> None:
    """Add the histogram of ``numbers`` of ``times`` (above 0, in ``unit``), in percent of all, as a line of steps that
    begins and ends at 0; nothing without times.
    """
    kept = ((times > 0) & (numbers > 0)).fillna(False)
    bins = np.floor(np.log2(times[kept].astype(float)) * _PER_OCTAVE).astype(int)
    counts = numbers[kept].groupby(bins).sum()
    if counts.empty:
        return
    drawn = range(int(counts.index.min()) - 1, int(counts.index.max()) + 2)
    share = counts.reindex(drawn, fill_value=0) / counts.sum() * 100
    figure.add_scatter(
        x=[2 ** ((at + 0.5) / _PER_OCTAVE) for at in drawn],
        y=share.tolist(),
        mode="lines",
        hovertemplate=f"%{{x:.0f}} {unit}: %{{y:.1f}} % of {what}",
        **looks,
    )


def label_times(figure: go.Figure, title: str, low: float, high: float, ticks: list[int]) -> None:
    """Label the axis of times, from ``low`` to ``high``, and start that of shares at 0."""
    figure.update_xaxes(type="log", title_text=title, range=[np.log10(low), np.log10(high)], tickvals=ticks,
                        ticktext=[f"{tick:,}" for tick in ticks])  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
