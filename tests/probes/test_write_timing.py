# SPDX-License-Identifier: MIT
"""The probe *revealing*: every page is written once, out of the state that the kernel confirmed."""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import uffdlab_run

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.probes.covert import write_timing
from uffdlab.probes.covert.write_timing import FEATURES, STATES, RevealingSpec, check_states, deal, prepare, states_of
from uffdlab.probes.requirements import Needs
from uffdlab.probes.userfault import READ, WRITE, FeatureMissingError, KernelRefused, Range, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB

PAGE = 4 * KIB
BOTH = pytest.mark.parametrize("backing", ["anon", "shmem"])


def _able() -> str | None:
    if native.why_missing():
        return native.why_missing()
    try:
        with opened(FEATURES):
            return None
    except KernelRefused as refusal:
        return str(refusal)


live = pytest.mark.skipif(_able() is not None, reason=str(_able()))


def _scans() -> bool:
    return native.why_missing() is None and native.probe()[1].ul_pagemap_scan_supported() == 1


scans = pytest.mark.skipif(not _scans(), reason="this kernel has no PAGEMAP_SCAN")


def _rows(**spec: Any) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {"reveals": [], "reveal_writes": []}
    for table, row in write_timing.run(RevealingSpec(**spec)):
        rows[table].append(row)
    return rows


# --- writes ----------------------------------------------------------------------------------------------------------


@live
@BOTH
def test_every_page_is_written_once_and_counted_in_its_state(backing: str) -> None:
    spec = RevealingSpec(backing, pages=1001, repeats=2, seed=4)
    rows = _rows(backing=backing, pages=1001, repeats=2, seed=4)
    assert [(row["sample"], row["state"]) for row in rows["reveals"]] == [
        (sample, state) for sample in (0, 1) for state in states_of(backing)
    ]
    assert [row["cold"] for row in rows["reveals"]] == [row["sample"] == 0 for row in rows["reveals"]]
    assert sum(row["pages"] for row in rows["reveals"]) == 2 * spec.pages
    for row in rows["reveals"]:
        own = [one for one in rows["reveal_writes"] if (one["sample"], one["state"]) == (row["sample"], row["state"])]
        took = [one["ns"] for one in own for _ in range(one["writes"])]
        assert len({one["ns"] for one in own}) == len(own), "one row for each time"
        assert len(took) == row["pages"]
        assert sum(ns <= row["median_ns"] for ns in took) >= len(took) / 2
        assert sum(ns >= row["median_ns"] for ns in took) >= len(took) / 2
        assert min(took) <= row["low_ns"] <= row["median_ns"] <= row["high_ns"] <= max(took)


@live
@BOTH
def test_each_time_belongs_to_the_state_of_its_page(backing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []

    def page_as_time(_: Range, offsets: Sequence[int]) -> list[int]:
        orders.append([offset // PAGE for offset in offsets])
        return orders[-1]

    monkeypatch.setattr(Range, "write_timed", page_as_time)
    rows = _rows(backing=backing, pages=300, repeats=2, seed=9)["reveal_writes"]
    assert [sorted(order) for order in orders] == [list(range(300))] * 2
    assert orders[0] != orders[1]
    dealt = deal(RevealingSpec(backing, 300), random.Random(9 * 1_000_003))
    assert {row["ns"]: row["state"] for row in rows if row["sample"] == 0} == dict(enumerate(dealt))


@live
@BOTH
def test_writes_fault_in_every_state_but_private(backing: str) -> None:
    faults = {}
    for state in states_of(backing):
        with mapped(BACKINGS[backing], 512 * PAGE) as memory, opened(FEATURES) as uffd:
            prepare(memory, uffd, [state] * 512)
            before = counters().minor_faults
            memory.write_timed([page * PAGE for page in range(512)])
            faults[state] = (counters().minor_faults - before) // 512
    assert faults["private"] == 0
    assert all(number >= 1 for state, number in faults.items() if state != "private"), faults
    # A marker may cost another fault: the first one maps a page that is protected, the next resolves that.
    assert faults["marker"] >= faults["empty"]


@live
@scans
@BOTH
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**40), pages=st.integers(60, 1200))
def test_the_kernel_shows_every_page_in_its_assigned_state(backing: str, seed: int, pages: int) -> None:
    spec = RevealingSpec(backing, pages)
    dealt = deal(spec, random.Random(seed))
    with mapped(BACKINGS[backing], pages * PAGE) as memory, opened(FEATURES) as uffd:
        prepare(memory, uffd, dealt)
        check_states(memory, dealt)
        assert memory.zeropages() == sum("zeropage" in state for state in dealt)
        assert memory.present_pages() == sum(STATES[state].touched is not None for state in dealt)


@live
@scans
@pytest.mark.parametrize(
    ("backing", "wanted", "done", "seen"),
    [
        ("anon", "empty", WRITE, "private"),
        ("anon", "empty", READ, "zeropage"),
        ("anon", "marker", READ, "protected zeropage"),
        ("anon", "zeropage", WRITE, "private"),
        ("anon", "protected private", WRITE, "private"),
        ("shmem", "empty", READ, "private"),
    ],
)
def test_a_page_in_another_state_gives_one_sentence(backing: str, wanted: str, done: int, seen: str) -> None:
    with mapped(BACKINGS[backing], 8 * PAGE) as memory, opened(FEATURES) as uffd:
        prepare(memory, uffd, [wanted] * 8)
        memory.touch_at([5 * PAGE], done)
        with pytest.raises(UffdlabError, match=f"page 5 should be {wanted} and the kernel shows {seen}: "):
            check_states(memory, [wanted] * 8)


@live
def test_without_pagemap_scan_states_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(operation: str, number: int) -> None:
        def states(_: Range) -> list[tuple[int, int]]:
            raise KernelRefused(operation, number)

        monkeypatch.setattr(Range, "states", states)

    for number in (errno.ENOTTY, errno.EPERM, errno.EINVAL):
        refuse("PAGEMAP_SCAN", number)
        assert len(_rows(pages=60)["reveals"]) == len(STATES)
    refuse("pagemap", errno.EACCES)
    with pytest.raises(KernelRefused, match="pagemap"):
        _rows(pages=60)


@pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))
def test_without_wp_async_the_block_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_: Any) -> None:
        raise FeatureMissingError(["WP_ASYNC"])

    monkeypatch.setattr(write_timing, "opened", without)
    with pytest.raises(KernelRefused, match="does not grant WP_ASYNC"):
        _rows()


@live
def test_a_point_prints_its_rows_without_the_histogram(tmp_path: Any) -> None:
    done = uffdlab_run("measure", "revealing", "--set", "pages=600", "--repeats", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(state in done.stdout for state in STATES)
    assert "median_ns" in done.stdout
    assert len(done.stdout.splitlines()) < 50


# --- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"backing": "anon_thp"}, "unknown backing 'anon_thp': choose one of anon, shmem"),
        ({"pages": 59}, "pages is 59: 6 states of anon share 60 to 262144 pages"),
        ({"backing": "shmem", "pages": 39}, "4 states of shmem share 40 to"),
        ({"pages": 262145}, "pages is 262145: choose 1 to 262144"),
        ({"repeats": 0}, "repeats is 0: choose 1 to 1000000"),
    ],
)
def test_an_invalid_spec_is_refused_with_the_reason(wrong: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        RevealingSpec(**wrong)
    assert refusal in str(caught.value)


def test_a_spec_needs_every_page_and_the_page_tables() -> None:
    assert RevealingSpec(pages=512).needs() == Needs(2048 + 8)
    assert RevealingSpec(pages=GIB // PAGE).needs() == Needs(GIB // KIB + 513 * 4)


def test_shmem_has_no_zeropage() -> None:
    assert [state for state in STATES if state not in states_of("shmem")] == ["zeropage", "protected zeropage"]
    assert states_of("anon") == tuple(STATES)


@BOTH
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(), pages=st.integers(60, 3000))
def test_states_are_assigned_in_equal_shares_by_seed(backing: str, seed: int, pages: int) -> None:
    spec = RevealingSpec(backing, pages)
    dealt = deal(spec, random.Random(seed))
    shares = Counter(dealt)
    assert set(shares) == set(states_of(backing))
    assert sum(shares.values()) == pages
    assert max(shares.values()) - min(shares.values()) <= 1
    assert dealt == deal(spec, random.Random(seed)) != deal(spec, random.Random(seed + 1))
