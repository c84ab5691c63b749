# SPDX-License-Identifier: MIT
"""A plugin of pytest for runs against mutants: hypothesis draws the same examples every time, and shrinks none."""

from __future__ import annotations

import signal

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


def pytest_configure() -> None:
    """Undo what mutmut's server hands down: a SIGTERM ends it with status 0, as if every test had passed."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
