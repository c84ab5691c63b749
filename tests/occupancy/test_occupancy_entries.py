# SPDX-License-Identifier: MIT
"""Pagemap entries, real and made-up, that are neither a page, nor in swap, nor a uffd-wp marker."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import uffdlab_run
from targets import CannotError, scanned, target
from test_occupancy import PAGE, PER_UNIT, SANITIZED, SIZE, modelled, only_mapping, shares

from uffdlab import native, occupancy, sim
from uffdlab.datasets import bitmap
from uffdlab.vocabulary.backings import GIB, MIB

pytestmark = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))

# --- made-up entries: what this machine may not have ----------------------------------------------------------------

SWAP, WP, GUARD_BIT, FILE, PRESENT = 1 << 62, 1 << 57, 1 << 58, 1 << 61, 1 << 63
ZERO_FRAME, BROKEN_FRAME, DEVICE_FRAME = 9, 10, 11
FLAGS = [0] * ZERO_FRAME + [1 << 24, 1 << 19, 1 << 20, 0]  # zeropage, hwpoison, no page (a device's), a page


def marker(what: int) -> int:
    """Return a marker's entry as CAP_SYS_ADMIN sees it: 1 uffd-wp, 2 poisoned, 4 guard."""
    return SWAP | 31 | what << 5


def names_page(type_: int, frame: int) -> int:
    return SWAP | type_ | frame << 5


# What each entry is, and what a bitmap keeps of it.
ENTRIES = {
    0: ("untouched", 0),
    PRESENT | 8: ("present", 2),
    PRESENT | FILE | 8: ("present", 2),
    PRESENT | ZERO_FRAME: ("zeropage", 1),
    marker(1) | WP: ("marked", 3),
    WP: ("marked", 3),  # of hugetlb
    SWAP | WP: ("marked", 3),  # without the type
    names_page(3, 77): ("swapped", 2),
    names_page(22, 77): ("swapped", 2),
    names_page(3, 77) | WP: ("swapped", 2),
    marker(4) | GUARD_BIT: ("guard", 0),
    marker(4): ("guard", 0),  # before 6.15
    marker(2): ("special", 0),
    marker(2) | WP: ("special", 0),
    marker(3) | WP: ("special", 0),
    marker(8): ("special", 0),
    names_page(24, BROKEN_FRAME): ("special", 0),
    names_page(28, DEVICE_FRAME): ("special", 2),
    names_page(29, 8): ("present", 2),  # it is being moved
}


@contextlib.contextmanager
def read_as_pagemap(directory: Path, entries: list[int], first: int = 0, **in_: int) -> Iterator[Any]:
    """Yield the counts of a pagemap that holds the entries."""
    (directory / "pagemap").write_bytes(bytes(first * 8) + struct.pack(f"<{len(entries)}Q", *entries))
    (directory / "kpageflags").write_bytes(struct.pack(f"<{len(FLAGS)}Q", *FLAGS))
    _, lib = native.probe()
    account = lib.ul_occupancy_new(2 * MIB, GIB)
    try:
        with (directory / "pagemap").open("rb") as pagemap, (directory / "kpageflags").open("rb") as flags:
            account.kpageflags, account.want_runs = flags.fileno(), 1
            for name, value in in_.items():
                setattr(account, name, value)
            end = (first + len(entries)) * PAGE
            assert lib.ul_occupancy_read(account, pagemap.fileno(), first * PAGE, end) == 0
            yield account
            assert lib.ul_occupancy_read(account, pagemap.fileno(), end, end + PAGE) == -errno.ESRCH, "it ended"
    finally:
        lib.ul_occupancy_free(account)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(ENTRIES)), st.integers(1, 900)), min_size=1, max_size=12),
    st.integers(0, 1000),
)
def test_every_pagemap_entry_has_its_state(
    tmp_path_factory: pytest.TempPathFactory, stretches: list[tuple[int, int]], first: int
) -> None:
    entries = [entry for entry, count in stretches for _ in range(count)]
    states = [ENTRIES[entry][0] for entry in entries]
    whole, mixed, blank, _ = modelled(states, first % PER_UNIT, PER_UNIT)
    with read_as_pagemap(tmp_path_factory.mktemp("pagemap"), entries, first, may_swap=1) as account:
        units = account.units[0]
        counted = {name: int(account.pages[i]) for i, name in enumerate(occupancy.STATES)}
        result = {name: int(units.whole[i]) for i, name in enumerate(occupancy.STATES) if units.whole[i]}
        runs = [account.runs[i] for i in range(account.run_count)]
        assert counted == {name: states.count(name) for name in occupancy.STATES}
        assert (result, int(units.mixed)) == (whole, mixed)
        assert int(units.blank) + whole.get("untouched", 0) + whole.get("zeropage", 0) == blank
        assert [run & 3 for run in runs for _ in range(run >> 2)] == [ENTRIES[entry][1] for entry in entries]
        assert bool(account.types_hidden) == (SWAP | WP in entries)
        poisoned = [marker(2), marker(2) | WP, marker(3) | WP, names_page(24, BROKEN_FRAME)]
        assert account.poisoned == sum(entry in poisoned for entry in entries)


@pytest.mark.parametrize(
    ("entry", "in_", "state", "kept"),
    [
        (SWAP, {"may_swap": 1}, "swapped", 2),
        (SWAP, {"may_swap": 0}, "special", 0),
        (SWAP | WP, {"may_swap": 0}, "marked", 3),
        (PRESENT | FILE | 8, {"cow": 1}, "file", 2),
        (PRESENT | FILE | 8, {"cow": 1, "of_file": 1}, "file", 1),
        (PRESENT | 8, {"cow": 1, "of_file": 1}, "present", 2),
        (PRESENT | FILE | 8, {"cow": 0}, "present", 2),
        (names_page(28, 8), {"kpageflags": -1}, "special", 2),
    ],
)
def test_state_of_an_entry_depends_on_the_mapping(
    entry: int, in_: dict[str, int], state: str, kept: int, tmp_path: Path
) -> None:
    with read_as_pagemap(tmp_path, [entry], **in_) as account:
        (result,) = [name for i, name in enumerate(occupancy.STATES) if account.pages[i]]
        assert (result, account.runs[0] & 3) == (state, kept)


# --- real ones -------------------------------------------------------------------------------------------------------

POISONED = f"""
fd = userfaultfd(1 << 14 | 1 << 12 | 1 << 13 | 1 << 5 | 1 << 4)
where = map_({SIZE}, {{flags}})
write(where + 16 * MIB, MIB)
register(fd, where, {SIZE}, 1 | 2)
poison(fd, where + 4 * MIB, 3 * MIB)
{{more}}
ready()
"""
FLAGS_OF = {"anon": "PRIVATE | ANONYMOUS", "shmem": "SHARED | ANONYMOUS"}


@contextlib.contextmanager
def poisoned(kind: str, more: str = "") -> Iterator[int]:
    try:
        with target(POISONED.format(flags=FLAGS_OF[kind], more=more)) as pid:
            yield pid
    except CannotError as error:
        pytest.skip(str(error))


@pytest.fixture(params=occupancy.METHODS)
def method(request: pytest.FixtureRequest) -> str:
    if request.param == "pagemap" and os.geteuid() != 0:
        pytest.skip("only root may see which page is the zeropage")
    if request.param == "pagemap" and SANITIZED:
        pytest.skip("the sanitizer maps 14 TiB: too many entries to read")
    name: str = request.param
    return name


@pytest.mark.uffd
@pytest.mark.parametrize("kind", ["anon", "shmem"])
def test_poisoned_pages_are_special(kind: str, method: str) -> None:
    with poisoned(kind) as pid:
        result = occupancy.scan(pid, SIZE, method, keep_runs=True)
    (mapping,) = [m for m in result.mappings if m.mapping.length == SIZE]
    rest = SIZE // PAGE - 4 * MIB // PAGE
    assert shares(mapping.granularities[0]) == {"special": 3 * MIB // PAGE, "present": MIB // PAGE, "untouched": rest}
    if mapping.mapping.start % (2 * MIB) == 0:
        assert shares(mapping.granularities[1]) == {"special": 1, "mixed": 2, "untouched": 29}
    assert result.account.differences(result.before, result.after) == dict.fromkeys(occupancy.account.NAMES, 0)
    if os.geteuid() == 0:
        (note,) = [note for note in result.notes if "special" in note]
        assert note == (
            "768 special page(s) are neither a page, nor in swap, nor a uffd-wp marker; 768 of them are poisoned: an "
            "access is SIGBUS"
        )


@pytest.mark.uffd
@pytest.mark.parametrize("kind", ["anon", "shmem"])
def test_poisoned_pages_among_markers_are_special(kind: str, method: str) -> None:
    with poisoned(kind, f"protect(fd, where, {SIZE})") as pid:
        small = only_mapping(pid, SIZE, method).granularities[0]
    marked = SIZE // PAGE - 4 * MIB // PAGE
    assert shares(small) == {"special": 3 * MIB // PAGE, "present": MIB // PAGE, "marked": marked}


@pytest.mark.uffd
def test_poisoned_page_is_untouched_in_a_bitmap(tmp_path: Path) -> None:
    with poisoned("anon") as pid:
        result = scanned(str(pid), f"--min-size={SIZE >> 20}MiB", "--bitmap=b", cwd=tmp_path)
        text = uffdlab_run("scan", str(pid), f"--min-size={SIZE >> 20}MiB", cwd=tmp_path).stdout
    (mapping,) = [m for m in result["mappings"] if m["size_kib"] == SIZE >> 10]
    assert mapping["granularities"][0]["counts"]["special"] == 3 * MIB // PAGE
    assert mapping["granularities"][0]["counts"]["swapped"] == 0
    recorded = bitmap.load(tmp_path / "b")
    (kept,) = [kept for kept in recorded.mappings if kept.length_bytes == SIZE]
    assert kept.counts()["present"] == MIB // PAGE
    saved = sim.replay(replace(recorded, mappings=(kept,)), sim.DESIGNS["pte_marker"]).protect
    assert saved["markers_pte"] == SIZE // PAGE - MIB // PAGE
    heads = text.splitlines()[0].split()
    row = dict(zip(heads, next(line for line in text.splitlines() if line.startswith("  4KiB")).split(), strict=True))
    assert (row["special"], row["swapped"]) == ("4.7%", "0%")


@pytest.mark.uffd
def test_poisoned_hugetlb_pages_are_special(huge_pages: None) -> None:
    code = """
fd = userfaultfd(1 << 14 | 1 << 12 | 1 << 4)
where = map_(8 * MIB, PRIVATE | ANONYMOUS | 0x44000 | 21 << 26)  # nothing is reserved
register(fd, where, 8 * MIB, 1 | 2)
poison(fd, where + 2 * MIB, 2 * MIB)
protect(fd, where + 4 * MIB, 4 * MIB)
ready()
"""
    try:
        with target(code) as pid:
            result = occupancy.scan(pid, 8 * MIB)
            other = occupancy.scan(pid, 8 * MIB, "pagemap")
    except CannotError as error:
        pytest.skip(str(error))
    if result.method != "PAGEMAP_SCAN":
        pytest.skip("this kernel has no PAGEMAP_SCAN")
    (mapping,) = [m for m in result.mappings if m.mapping.kind == "hugetlb"]
    assert shares(mapping.granularities[1]) == {"untouched": 1, "special": 1, "marked": 2}
    assert "poisoned hugetlb pages count as untouched: pagemap does not show them" in other.notes


def test_guard_markers_are_guards_on_any_kernel(method: str) -> None:
    code = f"""
where = map_({SIZE})
libc.madvise(where + 8 * MIB, 2 * MIB, 102) and sys.exit("no guard pages")
ready()
"""
    try:
        with target(code) as pid:
            mapping = only_mapping(pid, SIZE, method)
    except CannotError as error:
        pytest.skip(str(error))
    assert shares(mapping.granularities[1]) == {"untouched": 31, "guard": 1}


@pytest.mark.uffd
def test_markers_on_shmem_are_noted_as_not_showing_the_file_s_page() -> None:
    code = f"""
fd = userfaultfd(1 << 12 | 1 << 13)
file = os.memfd_create("x")
os.truncate(file, {SIZE})
write(map_({SIZE}, SHARED, file), MIB)
where = map_({SIZE}, SHARED, file)
register(fd, where, {SIZE}, 2)
protect(fd, where, {SIZE})
ready()
"""
    try:
        with target(code) as pid:
            result = occupancy.scan(pid, SIZE)
    except CannotError as error:
        pytest.skip(str(error))
    (marked,) = [mapping for mapping in result.mappings if mapping.pages("marked")]
    assert marked.pages("marked") == SIZE // PAGE, "the pages that the other mapping wrote, too"
    assert "marked shmem: a marker says nothing about the page of the file, which may be there" in result.notes
