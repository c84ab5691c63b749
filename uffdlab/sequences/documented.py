# SPDX-License-Identifier: MIT
"""What the documented semantics say of a sequence: a small model of one page's entry, step by step.

Each rule gives the result of a step, the events it raises, what the entry holds afterwards, and why: a sentence with
the kernel function that decides it (names as of Linux 6.18). Sources: ``Documentation/admin-guide/mm/userfaultfd.rst``,
userfaultfd(2), madvise(2) and the functions named. What a kernel did was looked at while the rules were written; those
on reclaim, UFFDIO_MOVE, UFFDIO_ZEROPAGE, mlock and guards were corrected by it, and that it agrees is no test of them.
The kernel is asked by the probe *sequence*; where the two differ, the kernel is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from uffdlab.vocabulary.backings import SEQUENCE_BACKINGS
from uffdlab.vocabulary.feature_sets import SEQUENCE_SETS
from uffdlab.vocabulary.steps import ENDING, STEPS, kind_of


@dataclass(frozen=True)
class Entry:
    """What the watched page's entry holds: a word of ``ENTRY_WORDS`` without "huge", and whether it is protected.

    ``cached``: the file behind it has the page, and ``dirty``: with contents of its own. ``lazy``: the page was given
    up by MADV_FREE. ``locked``: by mlock(2). ``pinned``: a device may write to the page. ``shared``: a child maps it,
    too. ``merged``: KSM's page is mapped instead. ``copied``: the range has had a page of its own (an anon_vma), and
    fork copies its entries. ``registered`` ends where a move unregisters the range.
    """

    holds: str = "empty"
    wp: bool = False
    cached: bool = False
    dirty: bool = False
    lazy: bool = False
    locked: bool = False
    pinned: bool = False
    shared: bool = False
    merged: bool = False
    copied: bool = False
    registered: bool = True

    @property
    def present(self) -> bool:
        """Whether the entry maps a page or the zeropage."""
        return self.holds in ("page", "zeropage")


@dataclass(frozen=True)
class Expected:
    """The outcome of a step: result, events, the entry afterwards, and why.

    ``errno`` is the name of the errno of a refusal, or None where several are known. ``result`` is None where it
    depends on the other pages of the range, which are not modelled, and so are events that are None. ``hidden``:
    pagemap shows the entry as empty. ``child``: after a fork, what the child's entry holds, or None where that is open.
    """

    entry: Entry
    why: str
    result: str | None = "done"
    errno: str | None = None
    wp_events: int | None = 0
    missing_events: int | None = 0
    other_events: int = 0
    hidden: bool = False
    child: Entry | None = None


@dataclass(frozen=True)
class _Memory:
    """The range: its kind, the features granted, and how it is registered."""

    kind: str
    features: frozenset[str]
    missing: bool
    private: bool
    kernel: bool

    @property
    def anonymous(self) -> bool:
        return self.kind in ("anon", "anon_thp")

    @property
    def marks_empty(self) -> bool:
        return not self.anonymous or "WP_UNPOPULATED" in self.features

    @property
    def asynchronous(self) -> bool:
        return "WP_ASYNC" in self.features

    def owns(self, entry: Entry) -> bool:
        """Whether the page is the process's own, not that of a file: a private mapping copies it before a write."""
        return self.anonymous or (self.kind == "file" and entry.dirty)

    def raises_missing(self, entry: Entry) -> bool:
        """Whether a hole is the handler's to fill: the file behind it does not have the page either."""
        return self.missing and entry.registered and not entry.cached

    def filled(self, entry: Entry, **more: bool) -> Entry:
        """Return the entry with a page; shared memory has it in its file as well."""
        own, was = self.anonymous or self.private, entry.present
        more = {"dirty": True, "lazy": False, "merged": False, "cached": not own, "pinned": entry.pinned and was} | more
        more |= {"shared": entry.shared and was and not own}
        copied = entry.copied or self.anonymous or (self.private and (self.kind != "file" or more["dirty"]))
        return replace(entry, holds="page", copied=copied, **more)

    def reports(self, entry: Entry) -> bool:
        """Whether a write to the entry waits for a handler."""
        return entry.wp and not self.asynchronous


def expected(backing: str, features: str, steps: Sequence[str]) -> list[Expected]:
    """Return the expected outcome of each step, up to the first one that the kernel refuses or does not end."""
    set_, kind = SEQUENCE_SETS[features], kind_of(SEQUENCE_BACKINGS[backing])
    memory = _Memory(kind, frozenset(set_.features), set_.missing, backing.endswith("private"), set_.kernel)
    if kind == "file" and (set_.missing or not memory.asynchronous):
        return [Expected(Entry(), _NO_FILE, "unregistered", "EINVAL")]
    entry, rest, found = Entry(), Entry(), []  # the watched page, and the others of its range
    for step in steps:
        outcome = _RULES[step](memory, entry)
        if not STEPS[step].page and kind != "hugetlb":  # whose range is one page
            others = _RULES[step](memory, rest)
            rest = others.entry
            outcome = others if step == "lock" and others.result == "refused" else outcome
            if step == "lock" and memory.kernel:  # events of every page of the range
                outcome = replace(outcome, wp_events=None, missing_events=None)
        hidden = kind == "hugetlb" and outcome.entry.holds == "poison"
        small = memory.missing and entry.present and entry.registered  # the handler fills one page per event
        if small and step == "collapse":
            errno_ = {"empty": "EBUSY", "marker": "EINVAL"}.get(rest.holds)
            outcome = _refused(entry, errno_, outcome.why) if errno_ else outcome
        told = memory.features.intersection(_TOLD.get(step, ())) if entry.registered else ()
        outcome = replace(outcome, hidden=hidden, other_events=len(told))
        if backing.startswith("hugetlb_1g"):  # Linux 6.18 copies their entries at one fork, and not at the next
            outcome = replace(outcome, child=None)
        found.append(outcome)
        if outcome.result in ENDING:
            break
        entry = outcome.entry
    return found


# Events that a call waits for. A move unmaps the old place.
_TOLD = {
    "fork": ("EVENT_FORK",),
    "remap": ("EVENT_REMAP", "EVENT_UNMAP"),
    "discard": ("EVENT_REMOVE",),
    "free": ("EVENT_REMOVE",),
}
_NO_FILE = "a regular file is registered with WP_ASYNC only, and for nothing but write protection (vma_can_userfault)"


def _touch(memory: _Memory, entry: Entry, *, write: bool) -> Expected | None:
    """Return the outcome of a touch that does not depend on protection; None where it does."""
    if entry.holds == "guard":
        return Expected(entry, "a guard raises SIGSEGV (handle_pte_marker)", "SIGSEGV")
    if entry.holds == "poison":
        return Expected(entry, "a poison marker raises SIGBUS (handle_pte_marker)", "SIGBUS")
    if entry.holds in ("empty", "marker") and memory.raises_missing(entry):
        how = "fills it" if write else "fills it and protects it"
        why = f"a hole raises a missing event, and the handler {how} (userfaultfd_missing)"
        return Expected(memory.filled(entry, wp=not write), why, missing_events=1)
    return None


def _read(memory: _Memory, entry: Entry) -> Expected:
    outcome = _touch(memory, entry, write=False)
    if outcome:
        return outcome
    if entry.present:
        return Expected(entry, "a read of a present page takes no fault")
    protected = "and stays protected" if entry.wp else "and is not protected"
    if entry.holds == "swapped":
        return Expected(replace(entry, holds="page"), f"the page comes back from swap {protected} (do_swap_page)")
    if memory.anonymous:
        after = replace(entry, holds="zeropage")
        return Expected(after, f"the read maps the zeropage, {protected} (do_anonymous_page)")
    why = f"the read maps a page of the file, {protected} (do_read_fault, hugetlb_no_page)"
    return Expected(memory.filled(entry, dirty=entry.cached and entry.dirty), why)


def _write(memory: _Memory, entry: Entry) -> Expected:
    outcome = _touch(memory, entry, write=True)
    if outcome:
        return outcome
    after = memory.filled(entry, wp=False)
    if not entry.wp:
        return Expected(after, "an entry that is not protected takes a write without an event")
    if memory.asynchronous:
        return Expected(after, "the kernel resolves the write itself, and PAGEMAP_SCAN shows it (do_wp_page)")
    return Expected(after, "a protected entry reports the write (userfaultfd_wp in do_wp_page)", wp_events=1)


def _protect(memory: _Memory, entry: Entry) -> Expected:
    if not entry.registered:
        return _refused(entry, "ENOENT", "the range is not registered any more (mwriteprotect_range)")
    if entry.present or entry.holds in ("swapped", "marker"):
        return Expected(replace(entry, wp=True), "UFFDIO_WRITEPROTECT sets the bit (change_pte_range)")
    if entry.holds != "empty":
        return Expected(entry, f"a {entry.holds} marker stays as it is (change_pte_range)")
    if memory.marks_empty:
        why = "an empty entry gets a marker (change_pte_range, userfaultfd_wp_use_markers)"
        return Expected(replace(entry, holds="marker", wp=True), why)
    why = "an empty entry of anonymous memory is left alone without WP_UNPOPULATED (userfaultfd_wp_use_markers)"
    return Expected(entry, why)


def _unprotect(memory: _Memory, entry: Entry) -> Expected:
    if not entry.registered:
        return _refused(entry, "ENOENT", "the range is not registered any more (mwriteprotect_range)")
    if entry.holds == "marker":
        return Expected(replace(entry, holds="empty", wp=False), "the marker is removed (change_pte_range)")
    return Expected(replace(entry, wp=False), "the bit is cleared (change_pte_range)")


def _discard(memory: _Memory, entry: Entry) -> Expected:
    if entry.locked and memory.kind != "hugetlb":
        return _refused(entry, "EINVAL", "locked memory is not discarded (madvise_dontneed_free_valid_vma)")
    if entry.holds == "guard":
        return Expected(entry, "a guard stays (zap_nonpresent_ptes)")
    entry, cached = replace(entry, shared=False, merged=False), entry.cached
    if entry.wp and not memory.anonymous:
        why = "the page goes and a marker stays: memory of a file keeps its protection (zap_install_uffd_wp_if_needed)"
        return Expected(replace(entry, holds="marker", cached=cached, lazy=False), why)
    why = "the entry is emptied"
    why += ", and with it goes its protection (zap_pte_range)" if entry.wp else " (zap_pte_range)"
    return Expected(replace(entry, holds="empty", wp=False, cached=cached, lazy=False), why)


def _free(memory: _Memory, entry: Entry) -> Expected:
    if entry.locked:
        return _refused(entry, "EINVAL", "locked memory is not freed (madvise_dontneed_free_valid_vma)")
    if entry.holds == "page" and entry.merged:
        return Expected(entry, "a page that others map as well is not given up (madvise_free_pte_range)")
    if entry.holds == "page":
        why = "the page may be dropped from now on; it is there and protected until then (madvise_free_pte_range)"
        return Expected(replace(entry, lazy=True), why)
    if entry.holds in ("swapped", "poison"):
        return Expected(replace(entry, holds="empty", wp=False), "the entry is emptied (madvise_free_pte_range)")
    return Expected(entry, "there is no page to free (madvise_free_pte_range)")


def _cold(memory: _Memory, entry: Entry) -> Expected:
    if entry.locked:
        return _refused(entry, "EINVAL", "locked memory is not aged (can_madv_lru_vma)")
    return Expected(entry, "the page is the next to be reclaimed, and nothing else changes (madvise_cold)")


def _reclaim(memory: _Memory, entry: Entry) -> Expected:
    if entry.locked:
        return _refused(entry, "EINVAL", "locked memory is not reclaimed (can_madv_lru_vma)")
    if (entry.shared or entry.merged) and entry.holds == "page":
        why = "a page that is mapped elsewhere, too, is left alone (madvise_cold_or_pageout_pte_range)"
        return Expected(entry, why)
    if entry.pinned and entry.holds == "page" and memory.owns(entry):
        return Expected(entry, "a page that is pinned is not reclaimed (folio_maybe_dma_pinned)")
    if entry.holds == "page" and not memory.owns(entry):
        kept = (
            "stays in its file, since there is no swap"
            if entry.dirty
            else "is dropped, since nothing was written to it"
        )
        why = f"the page is unmapped, and {kept} " + (
            "; a marker stays in the entry (pte_install_uffd_wp_if_needed)" if entry.wp else "(try_to_unmap_one)"
        )
        after = replace(entry, holds="marker" if entry.wp else "empty", cached=entry.dirty)
        return Expected(after, why.replace(" ;", ";"))
    if entry.lazy and entry.holds == "page":
        why = "the page that was given up is dropped, and with it goes its protection (try_to_unmap_one)"
        return Expected(replace(entry, holds="empty", wp=False, lazy=False), why)
    return Expected(entry, "without swap there is nowhere to write the page to (shrink_folio_list)")


def _swapout(memory: _Memory, entry: Entry) -> Expected:
    outcome = _reclaim(memory, entry)
    if entry.holds != "page" or entry.lazy or entry.locked or entry.pinned or entry.shared or entry.merged:
        return replace(outcome, why=outcome.why.replace("without swap there is nowhere to write the page to",
                                                        "there is no page to write"))  # fmt: skip
    if memory.owns(entry):
        return Expected(replace(entry, holds="swapped"), "a swap entry keeps the bit (try_to_unmap_one)")
    where = "is in swap" if entry.dirty else "is dropped, since nothing was written to it"
    left = "a marker stays (pte_install_uffd_wp_if_needed)" if entry.wp else "the entry is empty (try_to_unmap_one)"
    after = replace(entry, holds="marker" if entry.wp else "empty", cached=entry.dirty)
    return Expected(after, f"the page {where}, and {left}")


def _swapin(memory: _Memory, entry: Entry) -> Expected:
    if entry.holds in ("guard", "poison"):
        return _refused(entry, None, f"a {entry.holds} marker cannot be populated (faultin_page_range)")
    if entry.holds in ("empty", "marker") and memory.raises_missing(entry) and not memory.kernel:
        return _refused(entry, "EFAULT", NOT_OF_THE_USER)
    return _read(memory, entry)


NOT_OF_THE_USER = (
    "the kernel's own fault raises no event: the descriptor is USER_MODE_ONLY, as without privileges (handle_userfault)"
)


def _lock(memory: _Memory, entry: Entry) -> Expected:
    """Fill the range, by writing where it is private (populate_vma_page_range)."""
    locked = replace(entry, locked=True)
    if entry.holds in ("guard", "poison"):
        return _refused(locked, None, f"a {entry.holds} marker cannot be populated (populate_vma_page_range)")
    hole = entry.holds in ("empty", "marker") and memory.raises_missing(entry)
    waits = hole or (memory.reports(entry) and _locks_by_writing(memory))
    if waits and not memory.kernel:
        return _refused(locked, None, NOT_OF_THE_USER)
    outcome = (_write if _locks_by_writing(memory) else _read)(memory, locked)
    return replace(outcome, why="mlock fills the range (populate_vma_page_range)")


def _locks_by_writing(memory: _Memory) -> bool:
    return memory.anonymous or memory.private


def _fork(memory: _Memory, entry: Entry) -> Expected:
    kept = "EVENT_FORK" in memory.features
    why = "the parent keeps its protection; the child " + (
        "keeps its own, since EVENT_FORK was asked for (dup_userfaultfd)"
        if kept
        else "loses its own without EVENT_FORK (dup_userfaultfd, copy_present_pte)"
    )
    shared = entry.holds == "page" and (kept or memory.anonymous or memory.private)
    return Expected(replace(entry, shared=shared), why, child=_child(memory, entry, kept=kept))


def _child(memory: _Memory, entry: Entry, *, kept: bool) -> Entry | None:
    """Return the entry of a child (vma_needs_copy, copy_pte_range); None where the huge zeropage decides."""
    if not kept and not entry.copied:
        return None if memory.kind == "anon_thp" and entry.holds == "zeropage" else Entry()
    if entry.holds == "marker" and not kept:
        return Entry()
    return replace(entry, wp=entry.wp and kept)


def _remap(memory: _Memory, entry: Entry) -> Expected:
    entry = replace(entry, merged=False)  # move_vma takes merged pages apart
    if "EVENT_REMAP" in memory.features:
        return Expected(entry, "the range moves with its protection, since EVENT_REMAP was asked for (move_ptes)")
    holds = "empty" if entry.holds == "marker" else entry.holds
    why = "the range moves and is not registered any more: its protection is cleared (mremap_userfaultfd_prep)"
    return Expected(replace(entry, holds=holds, wp=False, registered=False), why)


def _pin(memory: _Memory, entry: Entry) -> Expected:
    if entry.holds in ("guard", "poison"):
        return _refused(entry, None, f"a {entry.holds} marker cannot be pinned (faultin_page)")
    waits = (entry.holds in ("empty", "marker") and memory.raises_missing(entry)) or memory.reports(entry)
    if waits and not memory.kernel:
        return _refused(entry, "EFAULT", NOT_OF_THE_USER)
    outcome = _write(memory, entry)
    why = "the device may write from now on, and no later write of it faults (pin_user_pages)"
    return replace(outcome, entry=replace(outcome.entry, pinned=True), why=why)


def _ksm_merge(memory: _Memory, entry: Entry) -> Expected:
    if entry.holds != "page" or not memory.owns(entry):
        return Expected(entry, "there is no page of the process's own to merge (get_mergeable_page)")
    if entry.merged:
        return Expected(entry, "the page is merged already (cmp_and_merge_page)")
    if entry.pinned:
        return Expected(entry, "a page that is pinned is not merged (write_protect_page)")
    lost = ": the protection is lost, and no event tells of it" if entry.wp else ""
    why = f"the page of KSM is mapped instead, not protected{lost} (replace_page)"
    return Expected(replace(entry, wp=False, merged=True, lazy=False), why)


def _ksm_unmerge(memory: _Memory, entry: Entry) -> Expected:
    if not entry.merged or entry.holds != "page":
        return Expected(entry, "there is no merged page (unmerge_ksm_pages)")
    return Expected(
        replace(entry, merged=False), "the page is copied, and keeps what the entry says (break_ksm, wp_page_copy)"
    )


def _zeropage(memory: _Memory, entry: Entry) -> Expected:
    refusal = _not_a_hole(memory, entry, "UFFDIO_ZEROPAGE", over_markers=not memory.anonymous)
    if refusal:
        return refusal
    if memory.anonymous:
        after = replace(entry, holds="zeropage", wp=False, copied=True)
        return Expected(
            after, "the zeropage is mapped, not protected: there is no mode for it (mfill_atomic_pte_zeropage)"
        )
    return Expected(memory.filled(entry, wp=False), "a page of zeros is mapped, not protected (shmem_mfill_atomic_pte)")


# Over any marker, a guard as well, until 6.19 told them apart (0b50fd4b1d32.1762621568.git.lorenzo.stoakes@oracle.com).
def _copy(memory: _Memory, entry: Entry) -> Expected:
    refusal = _not_a_hole(memory, entry, "UFFDIO_COPY", over_markers=True)
    if refusal:
        return refusal
    lost = ", and a marker is lost" if entry.wp else ""
    return Expected(memory.filled(entry, wp=False), f"a copy is mapped, not protected{lost} (mfill_atomic_install_pte)")


def _copy_wp(memory: _Memory, entry: Entry) -> Expected:
    refusal = _not_a_hole(memory, entry, "UFFDIO_COPY", over_markers=True)
    return refusal or Expected(
        memory.filled(entry, wp=True), "a copy is mapped and protected (mfill_atomic_install_pte)"
    )


def _move(memory: _Memory, entry: Entry) -> Expected:
    if not entry.registered or entry.locked:
        why = "the ranges differ: one is locked" if entry.locked else "the range is not registered any more"
        return _refused(entry, "EINVAL", f"{why} (validate_move_areas)")
    refusal = _not_a_hole(memory, entry, "UFFDIO_MOVE", over_markers=False)
    return refusal or Expected(
        memory.filled(entry, wp=False), "the other page is here now, not protected (move_present_pte)"
    )


def _poison(memory: _Memory, entry: Entry) -> Expected:
    refusal = _not_a_hole(memory, replace(entry, cached=False), "UFFDIO_POISON", over_markers=False)
    return refusal or Expected(
        replace(entry, holds="poison", wp=False, copied=entry.copied or memory.anonymous or memory.private),
        "a poison marker is put there (mfill_atomic_pte_poison)",
    )


def _not_a_hole(memory: _Memory, entry: Entry, call: str, *, over_markers: bool) -> Expected | None:
    """Return the refusal of filling what is no hole; ``over_markers``: a marker counts as one."""
    if not entry.registered:
        return _refused(entry, "ENOENT", "the range is not registered any more (find_dst_vma)")
    if memory.kind == "file":
        return _refused(entry, "EINVAL", f"{call} fills no memory of a regular file (mfill_atomic)")
    if entry.present or entry.holds == "swapped" or entry.cached:
        return _refused(entry, "EEXIST", f"{call} fills holes only, and there is a page (mfill_atomic)")
    if entry.holds != "empty" and not over_markers:
        return _refused(entry, "EEXIST", f"{call} fills holes only, and a marker is none (mfill_atomic)")
    return None


def _guard(memory: _Memory, entry: Entry) -> Expected:
    if entry.locked:
        return _refused(entry, "EINVAL", "locked memory takes no guard (is_valid_guard_vma)")
    if entry.wp and not memory.anonymous:
        why = (
            "emptying the entry leaves a marker, memory of a file keeps its protection; a guard wants an empty entry, "
            "and tries again without end (madvise_guard_install). Not documented: found by this probe on Linux 6.18"
        )
        return Expected(replace(entry, holds="guard", wp=False), why, "hung")
    why = "the entry becomes a guard, and what it held is gone (madvise_guard_install)"
    return Expected(replace(entry, holds="guard", wp=False, lazy=False, copied=True), why)


def _unguard(memory: _Memory, entry: Entry) -> Expected:
    if entry.holds == "guard":
        return Expected(replace(entry, holds="empty"), "the entry is empty and not protected (madvise_guard_remove)")
    return Expected(entry, "there is no guard to remove (madvise_guard_remove)")


def _collapse(memory: _Memory, entry: Entry) -> Expected:
    return Expected(entry, _COLLAPSES, None) if entry.present else _refused(entry, None, _COLLAPSES)


_COLLAPSES = (
    "a huge page stays one; small pages of a registered range are collapsed only where all are there, and none is "
    "protected (hpage_collapse_scan_pmd)"
)


def _khugepaged(_: _Memory, entry: Entry) -> Expected:
    # Once it is not registered any more holes count as zeros, and whether there are pages is not modelled.
    return Expected(entry, f"khugepaged came by: {_COLLAPSES}", "done" if entry.registered else None)


def _refused(entry: Entry, errno: str | None, why: str) -> Expected:
    return Expected(entry, why, "refused", errno)


_RULES: dict[str, Callable[[_Memory, Entry], Expected]] = {
    "write": _write,
    "read": _read,
    "protect": _protect,
    "unprotect": _unprotect,
    "discard": _discard,
    "free": _free,
    "cold": _cold,
    "reclaim": _reclaim,
    "swapout": _swapout,
    "swapin": _swapin,
    "lock": _lock,
    "fork": _fork,
    "remap": _remap,
    "collapse": _collapse,
    "khugepaged": _khugepaged,
    "ksm_merge": _ksm_merge,
    "ksm_unmerge": _ksm_unmerge,
    "pin": _pin,
    "zeropage": _zeropage,
    "copy": _copy,
    "copy_wp": _copy_wp,
    "move": _move,
    "poison": _poison,
    "guard": _guard,
    "unguard": _unguard,
}
