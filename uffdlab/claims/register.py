# SPDX-License-Identifier: MIT
"""The claims of the thread, in its order, each with the rule that decides it."""

from __future__ import annotations

from uffdlab.claims import atomicity, channels, faults, hugetlb, markers, spreading, userspace, zeropages
from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import CHANNEL, Evidence
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError

PLANNED = ("06_snapshots",)  # notebooks that claims name and that do not exist yet

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "hugetlb-needs-feature",
        "DH 1",
        "markers for unpopulated memory would add something for anonymous hugetlb",
        "some hugetlb row of the semantics table reports a write to empty memory with WP_UNPOPULATED and not with "
        "features 0 (all rows: holds; some: depends on the backing)",
        "01_anon_hugetlb",
        "probe semantics on hugetlb of 2 MiB and 1 GiB, private and shared, with features 0 and with WP_UNPOPULATED",
        hugetlb.needs_feature,
    ),
    Claim(
        "hugetlb-already-works",
        "PX",
        "anonymous hugetlb is already protected when empty",
        "every private hugetlb row (2 MiB, 1 GiB) reports a write to empty memory with features 0",
        "01_anon_hugetlb",
        "probe semantics on private hugetlb of 2 MiB and 1 GiB with features 0 (needs one free huge page of each size)",
        hugetlb.already_works,
    ),
    Claim(
        "qemu-could-skip",
        "DH 1",
        "QEMU could skip populating there (and on shmem)",
        "on QEMU's backends a write to empty memory is reported with features 0; (read loop + protect) / protect is "
        f"above {hugetlb.TIME_SAVED_RATIO} with its whole 95 % interval, untouched and half written; populating fills "
        f"more than {hugetlb.FILLED_SHARE:.0%} of what was untouched; and the same on a real snapshot",
        "01_anon_hugetlb",
        "probes semantics and protect (preread and unprotected) on shmem and hugetlb 2 MiB; then a real QEMU snapshot",
        hugetlb.qemu_could_skip,
    ),
    Claim(
        "forbidden-zeropage",
        "DH 2",
        "markers work where the zeropage is forbidden, a zeropage design does not",
        "on a kernel that forbids it markers fill below 0.01 of the range and report a write, and populating fills "
        "above 0.99; weaker, on a stock kernel: the same on memory in which a read of a hole maps a real page, and "
        "a lost write on any of it denies the claim",
        "02_forbidden_zeropage",
        "what a read of empty memory maps in each backing, and on a kernel that forbids the zeropage",
        zeropages.forbidden_zeropage,
    ),
    Claim(
        "zeropage-other-contexts",
        "PX",
        "is any other context likely to forbid zeropages?",
        "an answer, not a verdict: the attempts outside s390 to forbid zeropages, each linked, and how many were merged",
        "02_forbidden_zeropage",
        "the list of documented attempts",
        zeropages.other_contexts,
    ),
    Claim(
        "zeropage-covert-channel",
        "DH",
        "shared zeropages can carry a covert channel",
        "one-sided permutation test at each registered point, p < 0.01 / their number, with a silent sender and "
        "written pages beside it, and every control null: p not below 0.01 / their number",
        "04_covert_channels",
        "flush+reload on the shared zeropage between two processes, with its controls (--suite channel)",
        channels.covert_channel,
        CHANNEL,
    ),
    Claim(
        "markers-close-channel",
        "–",
        "a marker design closes that channel",
        "the same test on fresh memory, on markers never read and on markers after their first read",
        "04_covert_channels",
        "the channel measured on memory prepared by each design (--suite channel)",
        channels.markers_close,
        CHANNEL,
    ),
    Claim(
        "no-huge-zeropage-needed",
        "PX",
        "the patch does not need the huge zeropage",
        "a write is reported, and the time to protect with the huge zeropage off / on lies between 0.8 and 1.25 with "
        "its whole 95 % interval",
        "02_forbidden_zeropage",
        "probe zeropages on THP memory, pte_marker, with use_zero_page 0 and 1",
        zeropages.no_huge_zeropage_needed,
    ),
    Claim(
        "table-fill-slower",
        "DH 3",
        "without the huge zeropage the patch may be slower than today: a full PTE table instead of one PMD",
        "THP on: PTE fill / (populate-read + protect) above 1.25 with its whole 95 % interval",
        "03_pmd_pud_markers",
        "probe protect with THP on: pte_marker and populate_read at one size",
        faults.table_fill_slower,
    ),
    Claim(
        "zeropage-cow-shootdown",
        "–",
        "a filled zeropage costs a TLB shootdown per first write in threaded programs, a marker none",
        "IPIs per first write with two threads: zeropage above 0.5, marker below 0.05",
        "05_preallocated_tables",
        "first writes by two pinned threads, with IPIs counted",
        faults.zeropage_cow_shootdown,
    ),
    Claim(
        "pmd-marker-wins",
        "DH 3",
        "a PMD marker would serve empty ranges far better",
        "protect at least 10 x faster and at least 10 x less table memory at 0 % populated: proxy hugetlb 2 MiB, "
        "prediction and prototype, each named",
        "03_pmd_pud_markers",
        "a prototype of PMD markers, beside the calibrated prediction and the hugetlb 2 MiB proxy",
        markers.pmd_marker_wins,
    ),
    Claim(
        "pud-marker-wins",
        "DH 4",
        "the same at the PUD level",
        "the same factors against PMD level: hugetlb 1 GiB, prediction, prototype if any",
        "03_pmd_pud_markers",
        "a prototype of PUD markers, beside the calibrated prediction and the hugetlb 1 GiB proxy",
        markers.pud_marker_wins,
    ),
    Claim(
        "prealloc-speeds-faults",
        "PX",
        "pre-filled tables speed up later faults, since locks are split",
        "first touch with tables / without below 0.8 with its whole 95 % interval: one per 2 MiB and every page, read "
        "and write, 1 and 2 threads",
        "05_preallocated_tables",
        "later faults with and without tables, 1 and 2 threads",
        faults.prealloc_speeds_faults,
    ),
    Claim(
        "reads-need-no-fault",
        "PX",
        "after the patch only writes fault",
        "minor faults per first read of a page: below 0.01 where the zeropage is mapped, above 0.99 where a marker is",
        "05_preallocated_tables",
        "fault counts of reads after each preparation",
        faults.reads_need_no_fault,
    ),
    Claim(
        "spread-cost-later",
        "PX",
        "a high marker moves the slow work into later faults, mostly unwanted",
        "a fault that spreads / one on a PTE marker above 1.25 with its whole interval, in each of three cases: a "
        "read, a write that the kernel resolves, a write that a handler receives. Holds if total work is above that of "
        "PTE markers at some touched fraction as well (the break-even at 2 MiB is the condition); where it never is, "
        "or some case is not dearer, it holds if those cases and the tail are what counts",
        "03_pmd_pud_markers",
        "a calibrated prediction of spreading faults",
        spreading.spread_cost_later,
    ),
    Claim(
        "userspace-has-choice",
        "DH",
        "user space can already choose to pre-populate",
        "after a read loop + protect and after MADV_POPULATE_READ + protect the state of every page is that of markers "
        "that were read; the cost of each is in the evidence",
        "06_snapshots",
        "page-by-page states after a read loop, MADV_POPULATE_READ, and markers + read",
        userspace.userspace_has_choice,
    ),
    Claim(
        "patch-equals-populate",
        "DH",
        "what the patch does, populate + protect already does; MADV_POPULATE_READ would speed QEMU up",
        "page-by-page state equality; read loop / MADV_POPULATE_READ above 1.25; share of a real snapshot's set-up",
        "06_snapshots",
        "page-by-page state equality and a real snapshot's set-up time",
        userspace.patch_equals_populate,
    ),
    Claim(
        "untouched-is-common",
        "DH",
        "large ranges may stay untouched",
        "for the guests and processes measured, the share of RAM untouched at 2 MiB is above 0.5 with its whole "
        "interval; of the population at large nothing is decided",
        "06_snapshots",
        "occupancy scans of live guests and processes",
    ),
    Claim(
        "untouched-is-rare",
        "PX",
        "large unpopulated portions are the rare case",
        "the same data: the share of RAM untouched at 2 MiB is below 0.1 with its whole interval",
        "06_snapshots",
        "occupancy scans of live guests and processes",
    ),
    Claim(
        "higher-levels-involved",
        "PX",
        "higher-level markers need a more involved kernel change",
        "files, functions and lines of a prototype (a lower bound: walkers it leaves unhandled are listed) each above "
        "1.25 times those of the merged commit",
        "03_pmd_pud_markers",
        "a PMD-marker prototype of the kernel",
    ),
    Claim(
        "snapshot-advantage",
        "DH",
        "markers help background snapshots by not filling zeropages and tables",
        "stop time and memory filled of PTE markers / those of populating below 0.8 with their whole intervals, and "
        "total work below 1.25, with a saver that skips holes; with one that reads everything it is the condition",
        "06_snapshots",
        "a background snapshot, real and simulated",
    ),
    Claim(
        "atomicity",
        "DH",
        "is doing both in one pass worth it?",
        "a lost write was issued after the ioctl returned, to a page not discarded since the ioctl began, and raised "
        "no event. Discards racing on anonymous memory: two passes (read loop, MADV_POPULATE_READ) lose writes, with "
        "the 95 % interval of the median over children wholly above 0, and one pass loses none, with the exact upper "
        f"end of its interval below {atomicity.BOUND_PER_MILLION:g} per million judged writes (both ways of "
        "populating: holds; one of them: holds if). It does not hold when both ways lose none with that upper end "
        f"below {atomicity.BOUND_PER_MILLION:g} per million, or when one pass loses writes too, in the median child. "
        "shmem and hugetlb stand beside it and do not decide",
        "01_anon_hugetlb",
        "probe atomicity on anonymous memory: at least six children per way of populating, and four million writes "
        "judged after one pass",
        atomicity.worth_it,
    ),
)


def find(id_: str) -> Claim:
    """Return the claim of that id; UffdlabError when there is none."""
    for claim in CLAIMS:
        if claim.id == id_:
            return claim
    raise UffdlabError(f"no claim is called {id_!r}: 'uffdlab claims' lists them")


def verdict(id_: str, evidence: Evidence | Dataset) -> Verdict:
    """Return the verdict on one claim; a dataset is evidence without companions."""
    return find(id_).verdict(evidence if isinstance(evidence, Evidence) else Evidence(evidence))


def verdicts(evidence: Evidence | Dataset) -> list[Verdict]:
    """Return the verdict on every claim, in the thread's order."""
    return [verdict(claim.id, evidence) for claim in CLAIMS]
