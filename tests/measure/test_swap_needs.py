# SPDX-License-Identifier: MIT
"""Blocks that need swap, or none: what is said where the host has it otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from uffdlab.host import memory, swap
from uffdlab.probes.sequence import SequenceSpec


def test_the_control_group_that_forbids_swap_is_found_among_those_above(tmp_path: Path) -> None:
    assert memory.swap_forbidden(tmp_path) is None
    for path, content in {
        "proc/self/cgroup": "0::/above/mine\n",
        "sys/fs/cgroup/above/mine/memory.swap.max": "max\n",
        "sys/fs/cgroup/above/memory.swap.max": "0\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert memory.swap_forbidden(tmp_path) == "/sys/fs/cgroup/above/memory.swap.max"
    (tmp_path / "sys/fs/cgroup/above/memory.swap.max").write_text("4096\n")
    assert memory.swap_forbidden(tmp_path) is None


def test_a_block_that_needs_swap_says_who_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "swap_forbidden", lambda: "/sys/fs/cgroup/x/memory.swap.max")
    lacking = SequenceSpec("anon", "none", "write; swapout").needs().missing() or ""
    assert lacking.startswith("needs swap, and /sys/fs/cgroup/x/memory.swap.max is 0: write max there")
    assert SequenceSpec("anon", "none", "write; reclaim").needs().missing() is None


def test_reclaim_is_not_asked_where_the_host_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "areas", lambda: {"/dev/sdb2": 1 << 20})
    lacking = SequenceSpec("anon", "none", "write; free; reclaim").needs().missing()
    assert lacking == (
        "needs a host without swap, and /dev/sdb2 is in use: switch it off with swapoff, or take the step swapout, "
        "which is to swap"
    )
    assert SequenceSpec("anon", "none", "write; swapout").needs().missing() is None
    monkeypatch.setattr(swap, "areas", lambda: {f"/{swap.FILE}": 1 << 16})
    assert SequenceSpec("anon", "none", "write; free; reclaim").needs().missing() is None
