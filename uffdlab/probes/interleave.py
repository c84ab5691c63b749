# SPDX-License-Identifier: MIT
"""Two configurations in turns in one process: processes differ by more than some ratios, for as long as they live."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

Spec = TypeVar("Spec", bound=Any)


def in_turns(spec: Spec, field: str, index: int) -> list[Spec]:
    """Return what is measured in turn ``index``: the spec and, where ``beside`` names another value of ``field``, the
    spec with that; each of them is first every other turn.
    """
    if not spec.beside:
        return [spec]
    both = [replace(spec, beside=""), replace(spec, beside="", **{field: spec.beside})]
    return both[:: -1 if index % 2 else 1]
