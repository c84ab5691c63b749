# SPDX-License-Identifier: MIT
"""A plugin of pytest for runs against mutants: hypothesis draws the same examples every time, and shrinks none."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    deadline=None,  # other mutants run at the same time
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutants")
