# SPDX-License-Identifier: MIT
"""The probe *tracking* against a real kernel: every dirty page is reported once, and only those; and its frame."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_atomicity import dataset, tracked

from uffdlab import figures, native, summaries
from uffdlab.errors import UffdlabError
from uffdlab.probes import tracking
from uffdlab.probes.requirements import Needs
from uffdlab.probes.tracking import METHODS, TRACKED_BACKINGS, TrackingSpec
from uffdlab.probes.userfault import READ, WRITE, KernelRefused, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB

built = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))
SIZE = 16 * MIB
PAGE = 4 * KIB


@pytest.fixture
def scans() -> None:
    """Skips where the kernel cannot protect while it scans."""
    try:
        with opened(("WP_UNPOPULATED", "WP_ASYNC")):
            pass
    except KernelRefused as refusal:
        pytest.skip(str(refusal))


def samples(**spec: Any) -> list[dict[str, Any]]:
    return [row for _, row in tracking.run(TrackingSpec(**({"size_bytes": SIZE} | spec)))]


# --- what a spec refuses, needs and chooses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"backing": "hugetlb_2m_private"}, "unknown backing 'hugetlb_2m_private': choose one of anon, "),
        ({"method": "guess"}, "unknown method 'guess': choose one of async_scan, events, events_each, untracked"),
        ({"pattern": "striped"}, "unknown pattern 'striped': choose one of uniform, clustered"),
        ({"size_bytes": MIB}, "size 1048576 B is not a positive multiple of 2 MiB"),
        ({"size_bytes": 0}, "size 0 B is not a positive multiple of 2 MiB"),
        ({"dirty": 1.5}, "dirty is 1.5: choose 0 to 1"),
        ({"dirty": float("nan")}, "dirty is nan: choose 0 to 1"),
        ({"repeats": 0}, "repeats is 0: choose 1 to 1000000"),
    ],
)
def test_an_invalid_spec_is_refused_with_the_reason(wrong: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        TrackingSpec(**wrong)
    assert refusal in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "needs"),
    [
        (TrackingSpec("anon", dirty=0.0), Needs(2048)),
        (TrackingSpec("anon", dirty=0.5), Needs(2048 + 512 * KIB)),
        (TrackingSpec("shmem", populated=True), Needs(2048 + GIB // KIB)),
        (TrackingSpec("anon_thp", dirty=1 / 262144), Needs(2048 + 2 * KIB)),
    ],
)
def test_a_spec_needs_its_written_pages_and_page_tables(spec: TrackingSpec, needs: Needs) -> None:
    assert spec.needs() == needs


@built
@given(st.sampled_from(["uniform", "clustered"]), st.floats(0, 1), st.integers(0, 2**70))
def test_whole_runs_are_chosen_in_ascending_order(pattern: str, dirty: float, seed: int) -> None:
    spec = TrackingSpec("anon", size_bytes=4 * MIB, dirty=dirty, pattern=pattern)
    chosen = tracking.choose(spec, seed)
    offsets = [int(offset) for offset in chosen.offsets]
    run = tracking.RUN_PAGES[pattern]
    assert len(offsets) == chosen.count == spec.dirty_pages
    assert abs(chosen.count - spec.pages * dirty) <= run / 2
    assert offsets == sorted(set(offsets))
    firsts = offsets[::run]
    assert all(first % (run * PAGE) == 0 for first in firsts)
    assert offsets == [first + at * PAGE for first in firsts for at in range(run)]
    assert [at * PAGE for at, noted in enumerate(chosen.by_page) if noted] == offsets


@built
def test_the_seed_determines_the_chosen_pages() -> None:
    spec = TrackingSpec("anon", size_bytes=4 * MIB)
    first, same, other = (tracking.choose(spec, seed).by_page for seed in (1, 1, 2))
    assert first == same != other


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=50))
def test_reported_pages_are_compared_with_written_pages(pages: list[tuple[int, int]]) -> None:
    counts = tracking.compare(bytes(w for w, _ in pages), bytes(r for _, r in pages))
    assert counts["reported_pages"] == sum(r for _, r in pages)
    assert counts["missed_pages"] == sum(w and not r for w, r in pages)
    assert counts["spurious_pages"] == sum(r and not w for w, r in pages)


# --- trackers --------------------------------------------------------------------------------------------------------


@pytest.mark.uffd
@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize("backing", TRACKED_BACKINGS)
@pytest.mark.parametrize("populated", [False, True])
@pytest.mark.parametrize(
    ("dirty", "pattern"), [(0.0, "uniform"), (0.1, "uniform"), (0.1, "clustered"), (1.0, "uniform")]
)
def test_exactly_the_dirty_pages_are_reported(backing: str, populated: bool, dirty: float, pattern: str) -> None:
    for method in METHODS:
        for row in samples(
            backing=backing, method=method, populated=populated, dirty=dirty, pattern=pattern, repeats=2
        ):
            if method == "untracked":
                assert "reported_pages" not in row
                continue
            wanted = row["dirty_pages"]
            assert (row["reported_pages"], row["missed_pages"], row["spurious_pages"]) == (wanted, 0, 0)
            assert row["events"] == (0 if method == "async_scan" else wanted)
            if method == "async_scan":
                assert row["again_pages"] == 0, "nothing is reported once it is protected again"
                assert row["regions"] <= wanted
                assert row["scan_calls"] >= 1


@pytest.mark.uffd
@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize("backing", ["anon", "shmem"])
def test_a_page_protected_by_a_scan_is_reported_when_written_again(backing: str) -> None:
    with mapped(BACKINGS[backing], SIZE) as memory, opened(("WP_UNPOPULATED", "WP_ASYNC")) as uffd:
        uffd.register(memory, missing=False)
        uffd.protect(memory)
        reported = []
        for act in (
            lambda: memory.touch_at([3 * PAGE, 4 * PAGE, 900 * PAGE], WRITE),
            lambda: memory.touch_at([4 * PAGE, 700 * PAGE], WRITE),
            lambda: memory.touch(READ),
            lambda: memory.touch_at([4 * PAGE], WRITE),
        ):
            act()
            result, written = tracking.scan_written(memory)
            reported.append([page for page, noted in enumerate(written) if noted])
            assert result.pages == len(reported[-1])
    assert reported == [[3, 4, 900], [4, 700], [], [4]]


@pytest.mark.uffd
@pytest.mark.parametrize("method", ["events", "events_each"])
def test_protecting_again_after_events_takes_the_expected_number_of_ioctls(method: str) -> None:
    ffi, lib = native.probe()
    with mapped(BACKINGS["anon"], SIZE) as memory, opened(("WP_UNPOPULATED",)) as uffd:
        uffd.register(memory, missing=False)
        uffd.protect(memory)
        with uffd.handled(PAGE, timeout_s=10):
            memory.touch_at([PAGE, 5 * PAGE], WRITE)
        unprotected = [memory.state(at * PAGE).uffd_wp for at in (1, 5)]
        if method == "events":
            uffd.protect(memory)
        else:
            ns = ffi.new("uint64_t *")
            assert lib.ul_protect_list(uffd.fd, memory.address, [PAGE, 5 * PAGE], 2, PAGE, ns) == 0
        assert (unprotected, [memory.state(at * PAGE).uffd_wp for at in (1, 5)]) == ([False] * 2, [True] * 2)


@pytest.mark.uffd
@pytest.mark.usefixtures("scans")
def test_a_scan_of_unregistered_memory_is_refused_with_the_cause() -> None:
    with mapped(BACKINGS["anon"], SIZE) as memory, pytest.raises(KernelRefused, match="WP_ASYNC") as caught:
        tracking.scan_written(memory)
    assert caught.value.errno == errno.EPERM


# --- the frame and the figure ----------------------------------------------------------------------------------------


def made_up(children: int = 7) -> list[dict[str, Any]]:
    rows = []
    for block in range(children):
        for method, write_ns, collect_ns in (
            ("async_scan", 10_000_000, 1_000_000),
            ("events", 80_000_000, 8_000_000),
            ("untracked", 5_000_000, None),
        ):
            rows.append(tracked(method, 6554, write_ns, collect_ns, block=block))
            rows.append(tracked(method, 6554, 10 * write_ns, collect_ns, block=block, sample=0, cold=True))
        rows.append(tracked("async_scan", 0, 50, 200_000, block=block))
    return rows


def test_the_frame_has_costs_per_page_per_size_and_per_scan(tmp_path: Path) -> None:
    frame = summaries.df_tracking(dataset(tmp_path / "d", samples=made_up()))
    dirty, clean = frame[frame.dirty > 0].set_index("method"), frame[frame.dirty == 0].set_index("method")
    events, scan, untracked = dirty.loc["events"], dirty.loc["async_scan"], dirty.loc["untracked"]
    assert scan.per_page_ns == pytest.approx(11_000_000 / 6554)
    assert untracked.per_page_ns == pytest.approx(5_000_000 / 6554)
    assert (events.collect_per_gib_ns, scan.collect_per_gib_ns) == (32_000_000, 4_000_000)
    assert (events.page_ratio, events.collect_ratio) == (pytest.approx(8), pytest.approx(8))
    assert (events.page_ratio_low, scan.n) == (pytest.approx(8), 7)
    assert scan[["page_ratio", "collect_ratio"]].isna().all(), "nothing is compared with itself"
    assert untracked[["collect_per_gib_ns", "collect_ratio"]].isna().all()
    assert clean.loc["async_scan"].collect_per_gib_ns == 800_000
    assert clean.loc["async_scan"][["per_page_ns", "page_ratio"]].isna().all(), "no page costs nothing"


def test_the_frame_includes_mismatches(tmp_path: Path) -> None:
    rows = [tracked("events", 10, 100, 10, missed_pages=2, spurious_pages=1), tracked("untracked", 10, 100, None)]
    frame = summaries.df_tracking(dataset(tmp_path / "d", samples=rows)).set_index("method")
    assert frame.wrong_pages["events"] == 3
    assert frame[["wrong_pages"]].isna().loc["untracked"].all()


def test_too_few_children_give_no_interval(tmp_path: Path) -> None:
    frame = summaries.df_tracking(dataset(tmp_path / "d", samples=made_up(children=5)))
    assert frame.per_page_ns_low.isna().all()
    assert frame.page_ratio_low.isna().all()


def test_the_figure_draws_each_method_once_in_the_legend(tmp_path: Path) -> None:
    figure = figures.plot_tracking(dataset(tmp_path / "d", samples=made_up()))
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == ["PAGEMAP_SCAN (WP_ASYNC)", "events, whole range protected again", "not tracked"]
    left = next(trace for trace in figure.data if trace.xaxis == "x" and trace.name == named[1])
    assert list(left.x) == [pytest.approx(88_000_000 / 6554)]
    right = next(trace for trace in figure.data if trace.xaxis == "x2" and trace.name == named[0])
    assert sorted(right.x) == [pytest.approx(800_000), pytest.approx(4_000_000)]
    assert "made-up" in figure.layout.meta["origin"]


def test_the_figure_without_samples_has_a_note(tmp_path: Path) -> None:
    figure = figures.plot_tracking(dataset(tmp_path / "d"))
    assert [note.text for note in figure.layout.annotations] == ["made-up holds no tracking samples"]
