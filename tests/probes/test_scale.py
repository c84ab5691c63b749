# SPDX-License-Identifier: MIT
"""Probe *scale*: every page is taken once, by as many threads as have a CPU, and shares are what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import uffdlab_run

from uffdlab.errors import UffdlabError
from uffdlab.host import cpus
from uffdlab.measure import runner
from uffdlab.measure.options import spec_of
from uffdlab.measure.scale import measured, most_threads
from uffdlab.probes import scale
from uffdlab.probes.requirements import Needs
from uffdlab.probes.scale import FIELDS, OPERATIONS, THREAD_FIELDS, THREADS, ScaleSpec
from uffdlab.probes.shares import PAGE, extent_of_all, extents, shares, unit_of
from uffdlab.probes.userfault import KernelRefused, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB
from uffdlab.vocabulary.threads import SHARINGS

HERE = most_threads()
SOME_FAULTS = 8  # of a thread's own stack
NULLABLE = ("spin_waits", "semaphore_waits", "tlb_ipis", "mmap_lock_waits", "table_lock_waits", "vma_lock_fallbacks")


def tables(**spec: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of both tables."""
    found = list(scale.run(ScaleSpec(**({"size_bytes": 2 * MIB * HERE, "threads": HERE} | spec))))
    return tuple([row for name, row in found if name == table] for table in ("scale", "scale_threads"))  # type: ignore[return-value]


# --- what specs refuse -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sharing": "same_4kib"}, "unknown sharing 'same_4kib': choose one of same_2mib, same_1gib, own_1gib"),
        ({"threads": 17}, "threads is 17: choose 1 to 16"),
        ({"threads": 3}, "threads is 3: choose 1, 2, 4, 8 or 16"),
        ({"stride_bytes": 8192}, "stride 8192 B: choose 4KiB or 2MiB"),
        ({"stride_bytes": 2 * MIB}, "stride 2 MiB has one page per PTE table: choose sharing same_1gib or own_1gib"),
        ({"size_bytes": MIB}, "size 1048576 B is not a positive multiple of 2 MiB"),
        ({"size_bytes": 2 * MIB, "sharing": "own_1gib"}, "size 2097152 B is not a positive multiple of 4 MiB"),
        ({"size_bytes": 32 * MIB, "sharing": "same_1gib", "threads": 16, "stride_bytes": 6}, "stride 6 B"),
        ({"size_bytes": 32 * GIB}, "is not a positive multiple of 2 MiB up to 16 GiB"),
        ({"repeats": 0}, "repeats is 0"),
    ],
)
def test_impossible_specs_are_refused_with_the_remedy(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        ScaleSpec(**wrong)
    assert sentence in str(caught.value)


def test_a_point_of_the_command_line_is_a_spec() -> None:
    given_ = {"sharing": "own_1gib", "stride": "2MiB", "size": "1GiB", "threads": "4"}
    assert spec_of("scale", given_, 1)["stride_bytes"] == 2 * MIB


def test_a_spec_needs_its_pages_and_a_cpu_for_each_thread() -> None:
    needs = ScaleSpec("same_1gib", 8 * GIB, 2 * MIB, 16).needs()
    assert needs == Needs(memory_kib=(4096 + 4096 + 32) * 4, cpus=16)
    assert ScaleSpec(threads=1).needs().cpus == 1


def test_counts_of_threads_double_up_to_the_largest() -> None:
    assert ScaleSpec(threads=8).counts == (1, 2, 4, 8)
    assert ScaleSpec(threads=1).counts == (1,)


def test_whole_tables_are_protected_where_a_thread_takes_whole_ones() -> None:
    by_table = {name for name in OPERATIONS if name.endswith("by_2mib")}
    assert by_table <= set(ScaleSpec("own_1gib").operations)
    assert not by_table & set(ScaleSpec("same_2mib").operations)
    new_tables = ("read_nothing", "write_nothing", "protect_nothing")
    assert ScaleSpec("same_1gib", GIB, 2 * MIB).operations == new_tables


def test_the_suite_never_has_more_threads_than_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for allowed, most in ((0, 1), (1, 1), (2, 2), (3, 2), (12, 8), (16, 16), (64, 16)):
        monkeypatch.setattr(cpus, "allowed", lambda allowed=allowed: list(range(allowed)))
        assert {spec.threads for spec in measured()} == {most}
    assert len(measured()) == 5


@pytest.mark.skipif(most_threads() == 16, reason="every number of threads has its CPUs here")
def test_more_threads_than_cpus_are_skipped_in_one_sentence() -> None:
    block = runner.Block(0, "scale", {"threads": 16})
    (outcome,) = runner.run([block]).tables["outcomes"]
    assert outcome["outcome"] == "skipped"
    assert outcome["reason"].startswith("needs 16 CPUs to pin threads to, and this process may run on ")
    with pytest.raises(UffdlabError, match=r"threads is 16: needs 16 CPUs, \d+ are allowed"):
        next(scale.run(ScaleSpec(threads=16)))


@pytest.mark.uffd
@pytest.mark.skipif(HERE < 2, reason="one thread alone is measured here")
def test_a_point_shows_each_number_of_threads_on_its_own(tmp_path: Path) -> None:
    done = uffdlab_run("measure", "scale", "--size=4MiB", "--set=threads=2", "--repeats=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {f"  {name}, threads {n}:" for name in ScaleSpec().operations for n in (1, 2)} <= set(
        done.stdout.splitlines()
    )


# --- shares ----------------------------------------------------------------------------------------------------------


@st.composite
def shared_out(draw: st.DrawFn) -> tuple[str, int, int, int]:
    """Draw a sharing, a size, a stride and a number of threads that go together."""
    sharing = draw(st.sampled_from(list(SHARINGS)))
    stride = PAGE if sharing == "same_2mib" else draw(st.sampled_from([PAGE, 2 * MIB]))
    threads = draw(st.sampled_from(THREADS))
    unit = unit_of(sharing, stride) * threads
    return sharing, unit * draw(st.integers(1, 8 * MIB // unit + 1)), stride, threads


@given(shared_out())
def test_shares_partition_the_range(case: tuple[str, int, int, int]) -> None:
    sharing, size, stride, threads = case
    each = [list(share.offsets()) for share in shares(*case)]
    taken = [offset for offsets in each for offset in offsets]
    assert len(each) == threads
    assert {len(offsets) for offsets in each} == {size // stride // threads}
    assert len(set(taken)) == len(taken) == size // stride
    covered = [at for start, length in extents(sharing, size, threads) for at in range(start, start + length, stride)]
    assert sorted(taken) == covered
    assert max(taken) + stride == extent_of_all(sharing, size, threads)


@given(shared_out())
def test_threads_meet_at_tables_of_the_level_that_is_named_and_at_none_below(case: tuple[str, int, int, int]) -> None:
    sharing, _, _, threads = case
    parts = [list(share.offsets()) for share in shares(*case)]
    for bytes_, meet in ((2 * MIB, sharing == "same_2mib"), (GIB, sharing != "own_1gib")):
        under = [{offset // bytes_ for offset in offsets} for offsets in parts]
        assert (len(set.union(*under)) < sum(map(len, under))) == (meet and threads > 1)


@given(shared_out().filter(lambda case: case[0] != "same_2mib" and case[2] == PAGE))
def test_a_coarse_share_covers_the_same_memory(case: tuple[str, int, int, int]) -> None:
    for share in shares(*case):
        pieces = [at + page for at in share.coarse(2 * MIB).offsets() for page in range(0, 2 * MIB, PAGE)]
        assert pieces == list(share.offsets())


# --- on this kernel --------------------------------------------------------------------------------------------------


@pytest.mark.uffd
@pytest.mark.parametrize("sharing", SHARINGS)
def test_every_operation_is_measured_with_every_number_of_threads(sharing: str) -> None:
    spec = ScaleSpec(sharing, 4 * MIB * HERE, threads=HERE, repeats=2)
    found, each = tables(sharing=sharing, size_bytes=spec.size_bytes, repeats=2)
    points = [(row["sample"], row["operation"], row["threads"]) for row in found]
    assert sorted(points) == sorted(
        (n, name, threads) for n in (0, 1) for name in spec.operations for threads in spec.counts
    )
    assert [row["turn"] for row in found] == 2 * list(range(len(found) // 2))
    assert points[: len(found) // 2] != [(0, *point) for _, *point in points[len(found) // 2 :]], "in another order"
    assert all(row["cold"] == (row["sample"] == 0) for row in found)
    assert {"block", *found[0]} == {field["name"] for field in FIELDS}
    wanted = [(row["turn"], n) for row in found[len(found) // 2 :] if row["threads"] > 1 for n in range(row["threads"])]
    assert [(row["turn"], row["thread"]) for row in each] == wanted
    if each:
        assert {"block", *each[0]} == {field["name"] for field in THREAD_FIELDS}
        assert {row["cpu"] for row in each} <= set(cpus.allowed())


@pytest.mark.uffd
@pytest.mark.parametrize(
    ("sharing", "size", "stride"),
    [
        *((sharing, 4 * MIB * HERE, PAGE) for sharing in SHARINGS),
        ("same_1gib", GIB, 2 * MIB),
        ("own_1gib", GIB, 2 * MIB),
    ],
)
def test_minor_faults_add_up_to_the_pages(sharing: str, size: int, stride: int) -> None:
    found, _ = tables(sharing=sharing, size_bytes=size, stride_bytes=stride)
    for row in found:
        assert row["pages"] == size // stride
        # A marker makes a protected page of the first fault: the write faults again.
        each = 0 if row["operation"].startswith("protect") else 2 if row["operation"] == "write_markers" else 1
        faults = each * row["pages"]
        assert faults <= row["minor_faults"] <= faults + SOME_FAULTS * row["threads"], row["operation"]


@pytest.mark.uffd
def test_times_of_threads_lie_within_those_of_their_row() -> None:
    found, each = tables(repeats=2)
    for row in found:
        threads = [one for one in each if (one["sample"], one["turn"]) == (row["sample"], row["turn"])]
        assert row["wall_ns"] > 0
        assert row["busy_ns"] <= row["threads"] * row["wall_ns"]
        assert len({one["cpu"] for one in threads}) == len(threads)
        if threads:
            assert max(one["end_ns"] for one in threads) == row["wall_ns"]
            assert all(0 <= one["begin_ns"] < one["end_ns"] for one in threads)
            assert sum(one["end_ns"] - one["begin_ns"] for one in threads) == row["busy_ns"]
            for told in ("cpu_ns", "system_us", "minor_faults", "voluntary_switches"):
                assert sum(one[told] for one in threads) == row[told]


@pytest.mark.uffd
def test_what_the_kernel_does_not_tell_is_null_in_every_row_or_in_none() -> None:
    found, _ = tables()
    for name in NULLABLE:
        assert len({row[name] is None for row in found}) == 1, name
        assert all(row[name] is None or row[name] >= 0 for row in found) or name == "tlb_ipis"


@pytest.mark.uffd
@pytest.mark.parametrize("sharing", SHARINGS)
def test_what_is_protected_by_the_most_threads_is_protected_everywhere(sharing: str) -> None:
    threads = max(THREADS)
    size, allowed = 2 * MIB * threads, cpus.allowed()
    places = [allowed[number % len(allowed)] for number in range(threads)]  # several on a CPU: no time is measured
    with mapped(BACKINGS["anon"], extent_of_all(sharing, size, threads)) as memory, opened(scale.FEATURES) as uffd:
        uffd.register(memory, missing=False)
        told = scale.take_steps(
            OPERATIONS["protect_nothing"], memory, uffd, shares(sharing, size, PAGE, threads), places
        )
        assert len(told) == threads
        for start, extent in extents(sharing, size, threads):
            assert {memory.state(start + at).uffd_wp for at in range(0, extent, 64 * KIB)} == {True}


@pytest.mark.uffd
def test_a_thread_that_cannot_be_pinned_or_protect_ends_in_the_errno_s_sentence() -> None:
    absent = max(cpus.allowed()) + 1000
    parts = shares("same_2mib", 2 * MIB, PAGE, 2)
    with mapped(BACKINGS["anon"], 2 * MIB) as memory, opened(scale.FEATURES) as uffd:
        with pytest.raises(KernelRefused, match=r"sched_setaffinity.*EINVAL"):
            scale.take_steps(OPERATIONS["read_nothing"], memory, uffd, parts, [cpus.allowed()[0], absent])
        with pytest.raises(KernelRefused, match=r"UFFDIO_WRITEPROTECT.*ENOENT"):  # nothing is registered
            scale.take_steps(OPERATIONS["protect_nothing"], memory, uffd, parts, [cpus.allowed()[0]] * 2)
