# SPDX-License-Identifier: MIT
"""DataFrame in, plotly figure out: one module per figure, one visual language (``style``).

``plot_*`` returns a figure. Measured is a filled marker with its 95 % interval, predicted a hollow marker with a dashed
band, published a cross, unavailable a sentence.
"""

from __future__ import annotations

from .atomicity import plot_atomicity
from .guest import plot_guest
from .occupancy import plot_occupancy
from .published import plot_published
from .skip import plot_skip
from .tracking import plot_tracking

__all__ = [
    "plot_atomicity",
    "plot_guest",
    "plot_occupancy",
    "plot_published",
    "plot_skip",
    "plot_tracking",
]
