# SPDX-License-Identifier: MIT
"""The C code: it compiles without a warning, counts what it touches, and survives what the kernel answers."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import PACKAGE_ROOT, environment, sentence, uffdlab_run

from uffdlab import native
from uffdlab.host import memory, uapi
from uffdlab.probes.histogram import bin_edges_ns
from uffdlab.probes.userfault import READ, WRITE, KernelRefused, Range, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB

NATIVE = PACKAGE_ROOT / "uffdlab" / "native"
PAGE = 4 * KIB

built = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))

# --- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("source", sorted(str(path.relative_to(NATIVE)) for path in NATIVE.glob("*/*.c")))
def test_every_c_file_compiles_without_warnings(compiler: str, source: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    # To an object file: some warnings come from passes that a check of the syntax never reaches.
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-c", "-o", os.devnull]
    done = subprocess.run([compiler, *flags, source], cwd=NATIVE, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_compiler_the_package_builds_without_the_extension(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    setup = PACKAGE_ROOT / "setup.py"
    if not setup.exists():
        pytest.skip("not run from a checkout")
    build = [sys.executable, str(setup), "build_ext", "--build-lib", tmp_path / "lib", "--build-temp", tmp_path / "tmp"]
    done = subprocess.run(
        build, cwd=PACKAGE_ROOT, env=environment(CC="/bin/false"), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.so")) == []
    assert 'building extension "uffdlab.native._probe" failed' in done.stderr


# --- the extension missing or broken ---------------------------------------------------------------------------------

BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name == "uffdlab.native._probe":
            raise {error}

sys.meta_path.insert(0, Blocker())
"""
NOT_BUILT = BLOCK.format(error="ModuleNotFoundError('not there')")
BROKEN = BLOCK.format(error="ImportError('wrong ELF class')")


def test_measure_without_the_extension_names_what_to_install(tmp_path: Path, child_code) -> None:
    child_code(NOT_BUILT)
    message = sentence(uffdlab_run("measure", "protect", "--size=4MiB", cwd=tmp_path))
    assert message.startswith("the extension uffdlab.native._probe was not built")
    assert "install gcc (or clang) and the Python headers, then repeat 'pip install -e .'" in message


def test_extension_that_does_not_load_names_the_error(tmp_path: Path, child_code) -> None:
    child_code(BROKEN)
    message = sentence(uffdlab_run("measure", "protect", "--size=4MiB", cwd=tmp_path))
    assert message == "the extension uffdlab.native._probe does not load (wrong ELF class): repeat 'pip install -e .'"


def test_doctor_works_without_the_extension(tmp_path: Path, child_code) -> None:
    child_code(NOT_BUILT)
    done = uffdlab_run("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no   native extension" in done.stdout


# --- constants -------------------------------------------------------------------------------------------------------


# Ioctls as strace prints them on x86_64, where C may take them from headers older than the kernel.
CONSTANTS = {
    "UFFD_API": 0xAA,
    "UFFDIO_API": 0xC018AA3F,
    "UFFDIO_REGISTER": 0xC020AA00,
    "UFFDIO_UNREGISTER": 0x8010AA01,
    "UFFDIO_WAKE": 0x8010AA02,
    "UFFDIO_COPY": 0xC028AA03,
    "UFFDIO_ZEROPAGE": 0xC020AA04,
    "UFFDIO_WRITEPROTECT": 0xC018AA06,
    "USERFAULTFD_IOC_NEW": 0x0000AA00,
    "PAGEMAP_SCAN": 0xC0606610,
    "REGISTER_MODE_MISSING": 1 << 0,
    "REGISTER_MODE_WP": 1 << 1,
    "PM_SCAN_WP_MATCHING": 1 << 0,
    "PM_SCAN_CHECK_WPASYNC": 1 << 1,
    "MADV_FREE": 8,
    "MADV_MERGEABLE": 12,
    "MADV_UNMERGEABLE": 13,
    "MADV_COLD": 20,
    "MADV_PAGEOUT": 21,
    "MADV_POPULATE_READ": 22,
    "MADV_COLLAPSE": 25,
    "MADV_GUARD_INSTALL": 102,
    "MADV_GUARD_REMOVE": 103,
    **{f"PAGE_IS_{name}": 1 << bit for bit, name in enumerate(uapi.PAGE_CATEGORIES)},
}


@built
def test_compiled_constants_are_the_kernel_s() -> None:
    _, lib = native.probe()
    names = [line.split()[1] for line in (NATIVE / "probe" / "probe.constants.txt").read_text().splitlines()]
    compiled = {name.removeprefix("UL_"): getattr(lib, name) for name in names}
    assert compiled == {name: CONSTANTS[name] for name in compiled}


# --- bins ------------------------------------------------------------------------------------------------------------


@built
@given(st.integers(0, 2**64 - 1) | st.integers(0, 64).map(lambda power: min(2**power, 2**64 - 1)))
def test_every_time_is_inside_its_bin(ns: int) -> None:
    _, lib = native.probe()
    low, below = bin_edges_ns(lib.ul_bin(ns))
    assert low <= ns < below


@built
def test_bins_are_contiguous_up_to_the_largest_time() -> None:
    _, lib = native.probe()
    edges = [bin_edges_ns(b) for b in range(lib.UL_BINS)]
    assert all(left[1] == right[0] for left, right in pairwise(edges))
    assert (edges[0][0], edges[-1][1]) == (0, 2**64)


# --- touching --------------------------------------------------------------------------------------------------------


def present(range_: Range) -> set[int]:
    return {page for page in range(range_.length // PAGE) if range_.state(page * PAGE).present}


@built
@pytest.mark.parametrize("wanted", [0, 1, 63, 100, 128])
def test_write_some_writes_exactly_the_wanted_pages(wanted: int) -> None:
    with mapped(BACKINGS["anon"], 128 * PAGE) as range_:
        range_.write_some(wanted, seed=7)
        assert len(present(range_)) == wanted


@built
def test_seed_determines_the_written_pages() -> None:
    chosen = []
    for seed in (1, 1, 2):
        with mapped(BACKINGS["anon"], 128 * PAGE) as range_:
            range_.write_some(40, seed)
            chosen.append(present(range_))
    assert chosen[0] == chosen[1] != chosen[2]


@built
def test_write_some_refuses_more_pages_than_the_range_has() -> None:
    with mapped(BACKINGS["anon"], 4 * PAGE) as range_, pytest.raises(KernelRefused) as caught:
        range_.write_some(5, seed=0)
    assert caught.value.errno == errno.EINVAL


@built
def test_one_touch_in_n_is_timed() -> None:
    with mapped(BACKINGS["anon"], 128 * PAGE) as range_:
        _, bins = range_.touch_sampled(WRITE, sample_every=10)
        assert sum(bins.values()) == 12
        assert len(present(range_)) == 128


@built
def test_touch_at_touches_only_the_given_pages() -> None:
    with mapped(BACKINGS["anon"], 16 * PAGE) as range_:
        range_.touch_at([3 * PAGE + 17, 5 * PAGE], WRITE)
        assert present(range_) == {3, 5}


@built
def test_empty_hugetlb_pool_is_an_error_not_sigbus() -> None:
    pool = memory.hugepages(2048)
    if pool is None:
        pytest.skip("this kernel has no huge pages of 2 MiB")
    if pool.free or pool.overcommit:
        pytest.skip("the pool of 2 MiB pages is not empty")
    before = _caught_signals()
    with mapped(BACKINGS["hugetlb_2m_private"], 4 * MIB) as range_:
        for touching in (
            lambda: range_.touch(READ),
            lambda: range_.touch_at([2 * MIB], WRITE),
            lambda: range_.write_some(1, seed=0),
        ):
            with pytest.raises(KernelRefused, match="SIGBUS") as caught:
                touching()
            assert caught.value.errno == errno.EFAULT
    assert _caught_signals() == before, "the SIGBUS handler of whoever calls is back"


def _caught_signals() -> list[str]:
    return [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Sig")]


# --- what the kernel says of pages and of this process ---------------------------------------------------------------


@built
def test_page_state_follows_protect_write_and_discard() -> None:
    seen = []
    with mapped(BACKINGS["anon"], 16 * PAGE) as range_:
        for act in (
            lambda: None,
            lambda: range_.touch_at([5 * PAGE], READ),
            lambda: range_.touch_at([5 * PAGE], WRITE),
            range_.discard,
        ):
            act()
            state = range_.state(5 * PAGE)
            seen.append((state.present, state.categories is not None and "PFNZERO" in state.categories))
            assert (state.uffd_wp, state.swap) == (False, False)
            assert not range_.state(6 * PAGE).present, "its neighbour is left alone"
    scanned = native.probe()[1].ul_pagemap_scan_supported() == 1
    assert seen == [(False, False), (True, scanned), (True, False), (False, False)]


@built
def test_counters_include_pages_and_page_tables() -> None:
    with mapped(BACKINGS["anon"], 16 * MIB) as range_:
        before = counters()
        range_.touch(WRITE)
        after = counters()
    assert after.minor_faults - before.minor_faults >= 4096
    assert 32 <= after.vm_pte_kib - before.vm_pte_kib <= 48
    for name in ("vm_rss_kib", "rss_anon_kib"):
        assert getattr(after, name) - getattr(before, name) == pytest.approx(16 * KIB, abs=1 * KIB)
    assert after.rss_shmem_kib == before.rss_shmem_kib
    assert after.tlb_ipis >= before.tlb_ipis


# --- the event handler -----------------------------------------------------------------------------------------------


@pytest.mark.uffd
def test_handler_that_cannot_resolve_releases_the_waiter_at_its_deadline() -> None:
    with mapped(BACKINGS["anon"], 4 * MIB) as whole, opened(("WP_UNPOPULATED",)) as uffd:
        part = Range(whole.backing, whole.address + PAGE, 4 * PAGE)
        uffd.register(part, missing=False)
        uffd.protect(part)
        # Told that pages are 2 MiB, it un-protects from before the registered part: ENOENT, and the writer waits.
        with uffd.handled(2 * MIB, timeout_s=0.2) as events:
            part.touch_at([0], WRITE)
        assert part.state(0).present
    assert (events.wp, events.failed, events.last_errno) == (1, 1, errno.ENOENT)
    assert events.deadline_hit
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(uffd.fd)


@pytest.mark.uffd
def test_handler_counts_and_resolves_every_event() -> None:
    with mapped(BACKINGS["anon"], 64 * PAGE) as range_, opened(("WP_UNPOPULATED",)) as uffd:
        uffd.register(range_, missing=False)
        uffd.protect(range_)
        with uffd.handled(PAGE, timeout_s=10) as events:
            range_.touch(WRITE)
            range_.touch(WRITE)
        assert not range_.state(0).uffd_wp
    assert (events.wp, events.missing, events.failed, events.deadline_hit) == (64, 0, 0, False)


@pytest.mark.uffd
def test_handler_fills_holes() -> None:
    with mapped(BACKINGS["anon"], 16 * PAGE) as range_, opened(()) as uffd:
        uffd.register(range_, missing=True)
        with uffd.handled(PAGE, timeout_s=10) as events:
            range_.touch(READ)
        assert present(range_) == set(range(16))
    assert (events.missing, events.wp, events.failed) == (16, 0, 0)


@pytest.mark.uffd
def test_handler_fills_hugetlb_holes(huge_pages: None) -> None:
    with mapped(BACKINGS["hugetlb_2m_private"], 2 * MIB) as range_, opened(()) as uffd:
        uffd.register(range_, missing=True)
        with uffd.handled(2 * MIB, timeout_s=10) as events:
            range_.touch(READ)
        assert range_.state(0).present
    assert (events.missing, events.failed) == (1, 0)
