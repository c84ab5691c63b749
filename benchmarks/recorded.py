# SPDX-License-Identifier: MIT
"""Estimates in the form in which results are recorded."""

from __future__ import annotations

from typing import Any

from uffdlab.stats import Estimate


def plain(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as plain JSON types."""
    return {name: getattr(estimate, name) for name in ("value", "low", "high", "n", "confidence")}
