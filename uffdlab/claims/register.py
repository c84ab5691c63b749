# SPDX-License-Identifier: MIT
"""The claims of the thread, in its order, each with the rule that decides it."""

from __future__ import annotations

from uffdlab.claims import (
    atomicity,
    channels,
    faults,
    former,
    hugetlb,
    markers,
    spreading,
    trackers,
    userspace,
    zeropages,
)
from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import CHANNEL, TRACKERS, Evidence
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.units import in_sizes

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
        former={"0390180": former.hugetlb_needs_feature},
        lacks="huge pages of 2 MiB and 1 GiB",
    ),
    Claim(
        "hugetlb-already-works",
        "PX",
        "anonymous hugetlb is already protected when empty",
        "every private hugetlb row (2 MiB, 1 GiB) reports a write to empty memory with features 0; one of the two: "
        "depends on the backing",
        "01_anon_hugetlb",
        "probe semantics on private hugetlb of 2 MiB and 1 GiB with features 0 (needs one free huge page of each size)",
        hugetlb.already_works,
        lacks="huge pages of 2 MiB and 1 GiB",
    ),
    Claim(
        "qemu-could-skip",
        "DH 1",
        "QEMU could skip populating hugetlb and shmem",
        "on some of QEMU's backends a write to empty memory is reported with features 0; (read loop + protect) / "
        f"protect of 1 GiB is above {hugetlb.TIME_SAVED_RATIO} with its whole 95 % interval, untouched and half "
        f"written; populating fills more than {hugetlb.FILLED_SHARE:.0%} of what was untouched; and the same on a real "
        "snapshot, without which it is a prediction",
        "01_anon_hugetlb",
        "probes semantics and protect (preread and unprotected) on shmem and hugetlb 2 MiB; then a real QEMU snapshot",
        hugetlb.qemu_could_skip,
        former={"0931a64": former.qemu_could_skip},
        lacks="populating on QEMU's backends",
    ),
    Claim(
        "forbidden-zeropage",
        "DH 2",
        "markers work where the zeropage is forbidden, a zeropage design does not",
        "on a kernel that forbids it markers fill below 0.01 of the range and report a write, and populating fills "
        "above 0.99; on a stock kernel a prediction: the same on some memory in which a read of a hole maps a real "
        "page, and a lost write on any of it denies the claim",
        "02_forbidden_zeropage",
        "what a read of empty memory maps in each backing, and on a kernel that forbids the zeropage",
        zeropages.forbidden_zeropage,
        lacks="fills of shmem and hugetlb",
    ),
    Claim(
        "zeropage-other-contexts",
        "PX",
        "is any other context likely to forbid zeropages?",
        "an answer, not a verdict: the attempts outside s390 to forbid zeropages, each linked, and how many were "
        "merged",
        "02_forbidden_zeropage",
        "the list of documented attempts",
        zeropages.other_contexts,
        lacks="the list of attempts",
    ),
    Claim(
        "zeropage-covert-channel",
        "DH",
        "shared zeropages can carry a covert channel",
        "permutation test at each registered point, two-sided in each sample (bits that arrive inverted count), p < "
        "0.01 / their number, with a silent sender and written pages beside it, and of what passes there at most a "
        "hundredth through any control, by the one-sided 95 % bound on it",
        "04_covert_channels",
        "flush+reload on the shared zeropage between two processes, with its controls (--suite channel)",
        channels.covert_channel,
        CHANNEL,
        {
            "74a7c01": former.covert_channel,
            "178e890": former.covert_channel_one_sided,
            "87fb148": former.covert_channel_null,
        },
        lacks="the covert channel",
    ),
    Claim(
        "markers-close-channel",
        "–",
        "markers close the covert channel of the zeropage",
        "the same test on fresh memory, on markers never read and on markers after their first read",
        "04_covert_channels",
        "the channel measured on memory prepared by each design (--suite channel)",
        channels.markers_close,
        CHANNEL,
        {
            "74a7c01": former.markers_close,
            "178e890": former.markers_close_one_sided,
            "87fb148": former.markers_close_null,
        },
        lacks="the covert channel",
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
        former={"d647f6a": former.no_huge_zeropage_needed},
        lacks="the huge zeropage switched off",
    ),
    Claim(
        "table-fill-slower",
        "DH 3",
        "without the huge zeropage the patch may be slower than today: a full PTE table instead of one PMD",
        f"THP on, empty memory: PTE fill / (populate-read + protect), per KiB over {in_sizes(faults.FILL_SIZES_KIB)}, "
        f"above {faults.FILL_SLOWER} with its whole 95 % interval; markers stand in for the patch, so that it is a "
        "prediction",
        "03_pmd_pud_markers",
        "probe protect with THP on: pte_marker and populate_read at one size",
        faults.table_fill_slower,
        former={"0390180": former.table_fill_slower},
        lacks="huge zeropages of 1 GiB",
    ),
    Claim(
        "zeropage-cow-shootdown",
        "–",
        "a filled zeropage costs a TLB shootdown per first write in threaded programs, a marker none",
        "two threads, writes that the kernel resolves (async) on both sides; IPIs per first write and other CPU: "
        f"filled zeropage above {faults.AN_IPI}, marker that was never read below {faults.NO_IPI}, and a null arm, "
        f"in which both threads spin for as long and write nothing, below {faults.NO_IPI}. A marker that was read is "
        f"the fourth arm: below {faults.NO_IPI} the claim holds, above {faults.AN_IPI} it depends on reads",
        "05_preallocated_tables",
        "first writes by two pinned threads, with IPIs counted: filled zeropages, markers, markers that were read, and "
        "no writes for as long",
        faults.zeropage_cow_shootdown,
        former={"0390180": former.zeropage_cow_shootdown},
        lacks="two threads",
    ),
    Claim(
        "shootdown-after-any-read",
        "–",
        "after any read of empty memory each first write costs a TLB shootdown, protected or not",
        f"two threads; IPIs per write and other CPU: after reads above {faults.AN_IPI}, without a read below "
        f"{faults.NO_IPI}, on memory that is not protected and on markers",
        "05_preallocated_tables",
        "writes by two pinned threads after reads and without, with IPIs counted",
        faults.shootdown_after_any_read,
        lacks="two threads",
    ),
    Claim(
        "pmd-marker-wins",
        "DH 3",
        "a PMD marker would serve empty ranges far better",
        "empty memory; time to protect per KiB, PTE markers / PMD markers, above 10 with its whole interval, by "
        "proxy (hugetlb 2 MiB over 1 to 64 GiB; huge zeropages that are protected over 1 to 10 GiB) and by the "
        "calibrated prediction, all of them; and at least 10 x less table memory where no table is deposited with a "
        "marker. Without a prototype it is a prediction",
        "03_pmd_pud_markers",
        "a prototype of PMD markers, beside the calibrated prediction and the proxies",
        markers.pmd_marker_wins,
        former={"a307ee8": former.pmd_marker_wins},
        lacks="proxies and costs of high markers",
    ),
    Claim(
        "pud-marker-wins",
        "DH 4",
        "a PUD marker would serve empty ranges better still",
        "the same factors against the PMD level: hugetlb 1 GiB / hugetlb 2 MiB over 16 to 64 GiB, and the prediction",
        "03_pmd_pud_markers",
        "a prototype of PUD markers, beside the calibrated prediction and the hugetlb 1 GiB proxy",
        markers.pud_marker_wins,
        former={"a307ee8": former.pud_marker_wins},
        lacks="proxies and costs of high markers",
    ),
    Claim(
        "always-on-dearer",
        "PX",
        "markers that are always on make protecting sparse memory dearer",
        "256 MiB of anonymous memory, empty and 5 % written in runs of 4 MiB: protect with markers / without above "
        f"{markers.DEARER} with its whole interval, in both",
        "03_pmd_pud_markers",
        "probe protect on sparse anonymous memory: pte_marker and unprotected",
        markers.always_on_dearer,
        former={"87fb148": former.always_on_dearer},
        lacks="sparse memory",
    ),
    Claim(
        "markers-cost-later-thp",
        "–",
        "PTE markers cost later huge pages",
        f"THP on; share of first writes, one per 2 MiB, that map a huge page: above {faults.EVERY_WRITE} without "
        f"markers and below {faults.NO_WRITE} under PTE markers. Above {faults.NO_WRITE} under them: does not hold",
        "05_preallocated_tables",
        "first writes in each 2 MiB with THP on, with and without markers",
        faults.markers_cost_later_thp,
        former={"87fb148": former.markers_cost_later_thp},
        lacks="huge pages under markers",
    ),
    Claim(
        "prealloc-speeds-faults",
        "PX",
        "pre-filled tables speed up later faults",
        f"one thread, one touch per 2 MiB: first touch with its page table / without below {faults.SPEEDS_UP}, "
        "reading and writing, with a cache that holds the tables and after all it held was replaced, on both sides "
        "(two cases: each interval at 97.5 %). Both: holds; one of the two: depends on the cache",
        "05_preallocated_tables",
        "first touches with and without page tables, cached and not, in at least twelve children each",
        faults.prealloc_speeds_faults,
        former={"d647f6a": former.prealloc_speeds_faults},
        lacks="first touches with page tables",
    ),
    Claim(
        "split-locks-speed-faults",
        "PX",
        "pre-filled tables do so because the lock of a page table is split",
        "first touch with tables / without, of two threads under the same tables / of one thread: below "
        f"{faults.SPEEDS_UP} with its whole interval, reading and writing, every page and one per 2 MiB. Otherwise two "
        "CPUs show no effect, and of more nothing is decided",
        "05_preallocated_tables",
        "first touches with and without page tables on a machine with more CPUs",
        faults.split_locks_speed_faults,
        lacks="more CPUs",
    ),
    Claim(
        "reads-need-no-fault",
        "PX",
        "after the patch only writes fault",
        "minor faults per first read of a page: below 0.01 where the zeropage is mapped, above 0.99 where a marker is",
        "05_preallocated_tables",
        "counted faults of reads after each preparation",
        faults.reads_need_no_fault,
        former={"0931a64": former.reads_need_no_fault},
        lacks="later reads",
    ),
    Claim(
        "reads-get-dearer",
        "DH",
        "with markers later reads get dearer",
        "one thread, every page: first read of a marker / of a zeropage that populating mapped above "
        f"{faults.DEARER} with its whole interval",
        "05_preallocated_tables",
        "first reads of markers and of mapped zeropages",
        faults.reads_get_dearer,
        lacks="later reads",
    ),
    Claim(
        "spread-cost-later",
        "PX",
        "a high marker moves the slow work into later faults, mostly unwanted",
        "predicted: the first touch of a PMD marker / of a PTE marker, a write that a handler receives, above 1.25 "
        "with its whole interval, and all work of PMD markers above that of PTE markers with every 2 MiB of 1 GiB "
        "written once; the break-even share at 2 MiB is the condition",
        "03_pmd_pud_markers",
        "a prototype of PMD markers, beside the calibrated prediction of spreading faults",
        spreading.spread_cost_later,
        former={"0931a64": former.spread_cost_later, "cb1c10f": former.spread_cost_in_three_cases},
        lacks="costs per entry",
    ),
    Claim(
        "userspace-has-choice",
        "DH",
        "user space can already choose to pre-populate",
        "a write is reported after a read loop + protect and after MADV_POPULATE_READ + protect, on anonymous memory "
        "with THP off and on and on shmem: all of them holds, some of them depends on how and where",
        "01_anon_hugetlb",
        "probe zeropages: whether a write is reported after either way of populating",
        userspace.userspace_has_choice,
        former={"0931a64": former.userspace_has_choice},
        lacks="writes after populating",
    ),
    Claim(
        "patch-equals-populate",
        "DH",
        "what the patch does, populate + protect already does",
        "after a read loop + protect and after MADV_POPULATE_READ + protect the state of every page is that of "
        "markers that were read, which stand in for the patch: with THP off and on holds, with THP off alone depends "
        "on THP",
        "01_anon_hugetlb",
        "page-by-page states after a read loop, MADV_POPULATE_READ, and markers + read",
        userspace.patch_equals_populate,
        former={"0390180": former.patch_equals_populate},
        lacks="page-by-page states",
    ),
    Claim(
        "populate-read-faster",
        "DH",
        "MADV_POPULATE_READ would speed QEMU up",
        "read loop / MADV_POPULATE_READ by backing (256 MiB of anonymous memory with THP off and on and of shmem, "
        "1 GiB of private hugetlb of 2 MiB) and share written beforehand (0, 50 and 100 %), twelve cases, each "
        f"interval at 99.6 %: above {userspace.FASTER} the call is faster, below {userspace.SLOWER} slower. Faster in "
        "all: holds; slower in all: does not hold; faster in some and slower in others: depends on the backing and the "
        "share written",
        "01_anon_hugetlb",
        "probe protect: preread and populate_read by backing and share written, in at least twelve children each",
        userspace.populate_read_faster,
        former={"87fb148": former.populate_read_faster},
        lacks="read loops timed on each backing",
    ),
    Claim(
        "untouched-is-common",
        "DH",
        "large ranges may stay untouched",
        "for the guests and processes measured, the share of RAM untouched at 2 MiB is above 0.5 with its whole "
        "interval; of the population at large nothing is decided",
        "06_snapshots",
        "occupancy scans of live guests and processes",
        lacks="scans of live guests",
    ),
    Claim(
        "untouched-is-rare",
        "PX",
        "large unpopulated portions are the rare case",
        "the same data: the share of RAM untouched at 2 MiB is below 0.1 with its whole interval",
        "06_snapshots",
        "occupancy scans of live guests and processes",
        lacks="scans of live guests",
    ),
    Claim(
        "higher-levels-involved",
        "PX",
        "higher-level markers need a more involved kernel change",
        "files, functions and lines of a prototype (a lower bound: walkers it leaves unhandled are listed) each above "
        "1.25 times those of the merged commit",
        "03_pmd_pud_markers",
        "a PMD-marker prototype of the kernel",
        lacks="a prototype kernel",
    ),
    Claim(
        "snapshot-advantage",
        "DH",
        "markers help background snapshots by not filling zeropages and tables",
        "stop time and memory filled of PTE markers / those of populating below 0.8 with their whole intervals, and "
        "total work below 1.25, with a saver that skips holes; with one that reads everything it is the condition",
        "06_snapshots",
        "a background snapshot, real and simulated",
        lacks="a real snapshot",
    ),
    Claim(
        "atomicity",
        "–",
        "doing both in one pass reports writes that two passes lose",
        "anonymous memory, discards racing: of the discards that end between preparing and protecting, the share "
        "whose page's next write raises no event. Two passes (a read loop, MADV_POPULATE_READ) above "
        f"{atomicity.LOSES} with the 95 % interval of the median over children, and one pass with the exact upper end "
        f"below {atomicity.LOSES_NOTHING}: holds. Both ways of populating below {atomicity.LOSES_NOTHING}, or one "
        f"pass above {atomicity.LOSES}: does not hold",
        "01_anon_hugetlb",
        "probe atomicity on anonymous memory: at least six children per way of populating, and 185 discards in "
        "between with one pass",
        atomicity.worth_it,
        former={"f0c0912": former.atomicity},
        lacks="racing discards",
    ),
    Claim(
        "madv-free-loses-protection",
        "–",
        "memory that was freed by MADV_FREE loses its protection when it is reclaimed",
        "anonymous memory, written, MADV_FREE, protected, reclaimed by MADV_PAGEOUT: of the reclaimed pages, the "
        f"share whose next write raises no event, above {atomicity.EVERY_PAGE} with the exact interval, for markers "
        "and for both ways of populating; below it for all: does not hold; above for some and below for the others: "
        "depends on the design",
        "01_anon_hugetlb",
        "probe atomicity, interleaving freed",
        atomicity.madv_free_loses,
        lacks="reclaimed pages",
    ),
    Claim(
        "tracker-choice",
        "–",
        "WP_ASYNC and PAGEMAP_SCAN is the tracker to choose, whatever the dirty rate",
        "256 MiB of anonymous pages of 4 KiB, single ones at random, 0.1, 0.3, 1, 3, 10 and 30 % dirty; the scan / "
        "mprotect and SIGSEGV, events with one ioctl, events with one for each page (and soft-dirty bits where the "
        "kernel has them): the p99 of a write, the pause (collecting and protecting again), and the work of an epoch "
        f"beyond untracked writes, all intervals together at 95 %. All below {trackers.DEARER}: holds. By each of "
        f"the three above {trackers.DEARER} against some tracker at every share: does not hold. By one of the three "
        f"above {trackers.DEARER} against some tracker at some share, and below {trackers.CHEAPER} against all at "
        "another: depends on the dirty rate",
        "08_trackers",
        "probe trackers at six dirty shares, in at least twelve children each",
        trackers.tracker_choice,
        TRACKERS,
        lacks="trackers side by side",
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
