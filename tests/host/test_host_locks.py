# SPDX-License-Identifier: MIT
"""Waits for locks: what a kernel tells is read, and what it does not tell is None."""

from __future__ import annotations

from pathlib import Path

import pytest

from uffdlab.host import locks
from uffdlab.host.locks import Waits

LOCK_STAT = """\
lock_stat version 0.4
-----------------------------------------------------------------------------------------------------------------------
                              class name    con-bounces    contentions   waittime-min   waittime-max waittime-total
-----------------------------------------------------------------------------------------------------------------------

                         &mm->mmap_lock-W:            46             84           0.26         939.10       16371.53
                         &mm->mmap_lock-R:            37            100           1.31      299502.61      325629.52
                          ---------------
                           &mm->mmap_lock              1          [<ffffffff811502a7>] khugepaged_scan_mm_slot+0x57
                      ptlock_ptr(ptdesc)#2:           7             11           0.26           0.43           0.43
                     &mm->page_table_lock:             1              2           0.26           0.43           0.43
                            &zone->lock:            900            900           0.26           0.43           0.43
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc" / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / "proc" / "sys" / "kernel" / "lock_stat").write_text("1\n")
    (tmp_path / "proc" / "lock_stat").write_text(LOCK_STAT)
    (tmp_path / "proc" / "vmstat").write_text("pgfault 7\nvma_lock_success 9\nvma_lock_abort 1\nvma_lock_retry 2\n")
    return tmp_path


def test_waits_are_summed_by_kind_of_lock(root: Path) -> None:
    assert locks.waits(root) == Waits(mmap_lock=184, table_locks=13, vma_fallbacks=None)
    with (root / "proc" / "vmstat").open("a") as file:
        file.write("vma_lock_miss 4\n")
    assert locks.waits(root).vma_fallbacks == 7


def test_statistics_that_are_switched_off_tell_nothing(root: Path) -> None:
    (root / "proc" / "sys" / "kernel" / "lock_stat").write_text("0\n")
    assert locks.waits(root) == Waits(None, None, None)


def test_a_kernel_without_any_tells_nothing(tmp_path: Path) -> None:
    assert locks.waits(tmp_path) == Waits(None, None, None)
    assert locks.contention_tracepoint(tmp_path) is None


def test_a_class_that_is_not_listed_is_unknown(root: Path) -> None:
    (root / "proc" / "lock_stat").write_text("lock_stat version 0.4\n")
    assert locks.waits(root) == Waits(None, None, None)


def test_growth_is_unknown_where_either_is_and_where_it_was_set_back() -> None:
    growth = Waits(5, 1, None).growth(Waits(3, 2, 4))
    assert growth == {"mmap_lock": 2, "table_locks": None, "vma_fallbacks": None}


@pytest.mark.parametrize("mount", ["sys/kernel/tracing", "sys/kernel/debug/tracing"])
def test_the_tracepoint_is_found_wherever_tracefs_is_mounted(tmp_path: Path, mount: str) -> None:
    where = tmp_path / mount / "events" / "lock" / "contention_begin"
    where.mkdir(parents=True)
    (where / "id").write_text("408\n")
    assert locks.contention_tracepoint(tmp_path) == 408
