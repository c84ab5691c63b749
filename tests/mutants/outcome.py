# SPDX-License-Identifier: MIT
"""What became of one mutant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """A mutant: its target, its file, the function or line where it is, what stood there and what does now."""

    target: str
    file: str
    where: str
    before: str
    after: str
    killed: bool

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what names this mutant in ``survivors.toml``, however the lines around it move."""
        return self.file, self.where, self.before, self.after

    def __str__(self) -> str:
        """Return the mutant as a reader looks it up."""
        return f"{self.file}, {self.where}: {self.before!r} -> {self.after!r}"
