/* SPDX-License-Identifier: MIT */
/*
 * The effect of one touch under a design, and its ledger.
 *
 * Touches of one shape are alike, so the exact engine and the one that works
 * with expected values share this file: the one multiplies a shape's ledger by a
 * count, the other by an expectation. Where a kernel has the
 * design, the rules are those of Linux 6.18: do_anonymous_page(),
 * do_huge_pmd_anonymous_page(), pte_marker_handle_uffd_wp(), do_wp_page(),
 * do_huge_pmd_wp_page() and hugetlb_fault().
 */
#include "sim_shape.h"

static const char *const event_names[UL_EVENTS] = {
	[UL_READS] = "reads",
	[UL_WRITES] = "writes",
	[UL_TRAPS] = "traps",
	[UL_FAULT_EMPTY] = "faults_empty",
	[UL_FAULT_MARKER] = "faults_marker",
	[UL_FAULT_PROTECTED] = "faults_protected",
	[UL_FAULT_ZEROPAGE] = "faults_zeropage",
	[UL_TABLES_PTE] = "tables_pte",
	[UL_TABLES_PMD] = "tables_pmd",
	[UL_TABLES_PUD] = "tables_pud",
	[UL_FREED_PTE] = "freed_pte",
	[UL_FREED_PMD] = "freed_pmd",
	[UL_FREED_PUD] = "freed_pud",
	[UL_DEPOSITS] = "deposits",
	[UL_MARKERS_PTE] = "markers_pte",
	[UL_MARKERS_PMD] = "markers_pmd",
	[UL_MARKERS_PUD] = "markers_pud",
	[UL_MARKERS_CLEARED] = "markers_cleared",
	[UL_SPREAD_PMD] = "spread_pmd",
	[UL_SPREAD_PUD] = "spread_pud",
	[UL_PROTECTED_ZERO] = "protected_zero",
	[UL_PROTECTED_PTE] = "protected_pte",
	[UL_PROTECTED_PMD] = "protected_pmd",
	[UL_PROTECTED_PUD] = "protected_pud",
	[UL_RESOLVED_ZERO] = "resolved_zero",
	[UL_RESOLVED_PTE] = "resolved_pte",
	[UL_RESOLVED_PMD] = "resolved_pmd",
	[UL_RESOLVED_PUD] = "resolved_pud",
	[UL_VISITED_PTE] = "visited_pte",
	[UL_VISITED_PMD] = "visited_pmd",
	[UL_VISITED_PUD] = "visited_pud",
	[UL_ASKED_PTE] = "asked_pte",
	[UL_POPULATED] = "populated",
	[UL_ZEROPAGES] = "zeropages",
	[UL_HUGE_ZEROPAGES] = "huge_zeropages",
	[UL_FILLED_ZERO] = "filled_zero",
	[UL_FILLED_HUGE_ZERO] = "filled_huge_zero",
	[UL_PAGES] = "pages",
	[UL_HUGE_PAGES] = "huge_pages",
	[UL_GIGANTIC_PAGES] = "gigantic_pages",
	[UL_PAGES_COPIED] = "pages_copied",
	[UL_PAGES_FREED] = "pages_freed",
	[UL_ZAPPED_MARKERS] = "zapped_markers",
	[UL_ZAPPED_ZERO] = "zapped_zero",
	[UL_ZAPPED_HUGE_ZERO] = "zapped_huge_zero",
	[UL_ZAPPED_PAGES] = "zapped_pages",
	[UL_ZAPPED_HUGE_PAGES] = "zapped_huge_pages",
	[UL_ZAPPED_PMD] = "zapped_pmd",
	[UL_ZAPPED_PUD] = "zapped_pud",
	[UL_SPLIT_ZEROPAGES] = "split_zeropages",
	[UL_SPLIT_PAGES] = "split_pages",
	[UL_PROTECTS] = "protects",
	[UL_RESOLVES] = "resolves",
	[UL_CALLS] = "calls",
	[UL_EVENTS_WP] = "events_wp",
	[UL_EVENTS_MISSING] = "events_missing",
	[UL_LOST] = "lost_writes",
	[UL_FALSE] = "false_events",
	[UL_FLUSHES] = "flushes",
	[UL_IPIS] = "ipis",
	[UL_LOCK_MMAP] = "lock_mmap",
	[UL_LOCK_VMA] = "lock_vma",
	[UL_LOCK_PAGE_TABLE] = "lock_page_table",
	[UL_LOCK_PMD] = "lock_pmd",
	[UL_LOCK_PTE] = "lock_pte",
};

const char *ul_event_name(int32_t event)
{
	return event >= 0 && event < UL_EVENTS ? event_names[event] : NULL;
}

static int within(int32_t value, int32_t last)
{
	return value >= 0 && value <= last;
}

static int flags_are_flags(const struct ul_design *d)
{
	return within(d->remembers, 1) && within(d->missing, 1) && within(d->async, 1) && within(d->thp, 1) &&
	       within(d->zeropage, 1) && within(d->huge_zeropage, 1) && within(d->deposit, 1) &&
	       within(d->pt_reclaim, 1) && within(d->survives, 1);
}

const char *ul_design_problem(const struct ul_design *d)
{
	if (!within(d->leaf, UL_PUD) || !within(d->level, UL_PUD) || !within(d->prefault, UL_POPULATE_READ) ||
	    !within(d->empty, UL_EMPTY_ZEROPAGE) || !within(d->spread, UL_SPREAD_HUGE) ||
	    !within(d->resolve, UL_PMD) || !flags_are_flags(d))
		return "a field of the design is outside its values";
	if (d->level < d->leaf)
		return "an entry cannot be marked below the level of its pages: raise level, or lower leaf";
	if (d->leaf > UL_PTE && (d->thp || d->empty == UL_EMPTY_ZEROPAGE))
		return "hugetlb memory has neither transparent huge pages nor a zeropage: leave thp off and empty entries marked";
	if (d->empty == UL_EMPTY_ZEROPAGE && !d->zeropage)
		return "protecting maps the zeropage, which is forbidden: allow the zeropage, or mark empty entries";
	if (d->empty == UL_EMPTY_ZEROPAGE && d->level == UL_PUD)
		return "there is no zeropage of 1 GiB: lower the level to pmd or pte";
	if (d->empty == UL_EMPTY_ZEROPAGE && d->level == UL_PMD && !(d->thp && d->huge_zeropage))
		return "a zeropage at the PMD level is the huge one: switch thp and huge_zeropage on";
	if (d->empty != UL_EMPTY_MARKED && d->spread != UL_SPREAD_NEXT)
		return "only markers spread: leave spread at next, or mark empty entries";
	if (d->spread != UL_SPREAD_NEXT && d->level == d->leaf)
		return "markers at the level of the pages cannot spread: raise level, or leave spread at next";
	if (d->spread == UL_SPREAD_HUGE && (d->resolve != UL_PMD || d->async))
		return "a huge page under a marker is resolved whole, by a handler: set resolve to pmd, asynchronous off";
	if (d->remembers && d->empty != UL_EMPTY_STAYS)
		return "a VMA that remembers the protection leaves empty entries alone: leave empty at stays";
	if (d->missing && d->prefault != UL_NO_PREFAULT)
		return "pre-faulting leaves nothing missing: choose one of the two";
	if (d->missing && d->empty != UL_EMPTY_STAYS)
		return "an entry that is marked or filled is not missing: leave empty at stays";
	if (d->missing && (d->async || d->remembers))
		return "missing pages are filled by a handler: switch asynchronous and remembers off";
	if (d->survives && d->thp)
		return "markers survive on shmem and hugetlb, whose huge pages are not modelled as thp: leave one of them off";
	return NULL;
}

const char *ul_range_problem(const struct ul_design *d, uint64_t start_page, uint64_t pages)
{
	if (!pages)
		return "the span is 0: a range needs a positive size";
	if (pages > MOST_PAGES)
		return "the span is more than 16 TiB, the limit of the simulator";
	if (pages % entries(d->leaf) || start_page % entries(d->leaf))
		return "the range begins or ends within a hugetlb page: choose multiples of its size";
	if (start_page >= ADDRESS_PAGES || pages > ADDRESS_PAGES - start_page)
		return "the range ends beyond the address space";
	return NULL;
}

const char *ul_work_problem(const struct ul_design *d, uint64_t pages, const struct ul_random *work)
{
	const char *problem = ul_range_problem(d, 0, pages);

	if (problem)
		return problem;
	if (pages % PTRS)
		return "expected values need a span that is a multiple of 2 MiB";
	if (!(work->populated >= 0 && work->populated <= 1))
		return "the populated fraction is not from 0 to 1";
	if (!work->cluster || work->cluster & (work->cluster - 1) || work->cluster > 1ull << 18)
		return "expected values need clusters of a power of two of pages, up to 1 GiB";
	if (!(work->reads >= 0 && work->reads < 0x1p62) || !(work->writes >= 0 && work->writes < 0x1p62))
		return "the number of reads or writes is not from 0 to 2^62";
	if (work->other_cpus < 0)
		return "the number of other CPUs is negative: expected >= 0";
	return NULL;
}

uint32_t shape_code(struct shape s)
{
	return (uint32_t)s.write | (s.entry & 15u) << 1 | (uint32_t)s.from << 5 | (uint32_t)s.to << 7 |
	       (uint32_t)s.pud << 9;
}

struct shape shape_decode(uint32_t code)
{
	return (struct shape){
		.write = code & 1,
		.entry = code >> 1 & 15,
		.from = code >> 5 & 3,
		.to = code >> 7 & 3,
		.pud = code >> 9 & 1,
	};
}

uint32_t ul_shapes(void)
{
	return SHAPES;
}

/* Whether a read of nothing maps a zeropage at this level. */
int mapping_zeropage(const struct ul_design *d, int to)
{
	return d->leaf == UL_PTE && d->zeropage && (to == UL_PTE || d->huge_zeropage);
}

static int level_of_page(const struct ul_design *d, uint32_t entry, int level, int huge_fits)
{
	int huge;

	if (d->leaf > UL_PTE)
		return d->leaf;
	huge = KIND(entry) == MARKER ? d->spread == UL_SPREAD_HUGE : d->thp && !d->missing;
	return huge && huge_fits && level >= UL_PMD ? UL_PMD : UL_PTE;
}

/* An entry is EMPTY and PROTECTED where the VMA remembers. `huge_fits`: the 2 MiB around lie in the VMA. */
struct outcome decide(const struct ul_design *d, uint32_t entry, int level, int write, int huge_fits)
{
	struct outcome o = { .next = entry, .to = level };
	enum kind kind = KIND(entry);

	if (kind == EMPTY || kind == MARKER) {
		o.to = level_of_page(d, entry, level, huge_fits);
		if (write)
			o.next = PAGE;
		else if (kind == EMPTY && d->missing)
			o.next = PAGE | PROTECTED | (entry & OWED);
		else
			o.next = (mapping_zeropage(d, o.to) ? ZERO : PAGE) | (entry & (PROTECTED | OWED));
		return o;
	}
	if (!write || entry == PAGE) {
		o.hit = 1;
		return o;
	}
	/* The handler resolves 4 KiB of a huge entry, and an async fault splits it. */
	if (entry & PROTECTED && d->leaf == UL_PTE && level == UL_PMD && (d->async || d->resolve == UL_PTE))
		o.to = UL_PTE;
	o.next = PAGE;
	return o;
}

static void install_table(uint64_t *l, int level, uint64_t count)
{
	l[UL_TABLES_PTE + level] += count;
	l[level == UL_PTE ? UL_LOCK_PMD : UL_LOCK_PAGE_TABLE] += count;
}

/* Tables between the entry that was found and the page: empty ones, or full of markers. */
static void fill_between(const struct ul_design *d, const struct shape *s, uint64_t *l)
{
	if (s->pud)
		install_table(l, UL_PUD, 1);
	if (KIND(s->entry) == MARKER && s->to < s->from && d->spread == UL_SPREAD_LAST) {
		l[UL_SPREAD_PMD + s->from - UL_PMD] += 1;
		for (int level = s->from - 1; level >= UL_PTE; level--)
			install_table(l, level, entries(s->from - 1 - level));
		l[UL_MARKERS_PTE] += entries(s->from);
		return;
	}
	for (int level = s->from - 1; level >= s->to; level--) {
		install_table(l, level, 1);
		if (KIND(s->entry) != MARKER)
			continue;
		l[UL_SPREAD_PMD + level] += 1;
		l[UL_MARKERS_PTE + level] += entries(1);
	}
}

/* Where nothing was: the zeropage for a read that may have it, else a page. */
static void map_first(const struct ul_design *d, const struct shape *s, uint64_t *l)
{
	if (s->write || !mapping_zeropage(d, s->to))
		l[UL_PAGES + s->to] += 1;
	else
		l[s->to == UL_PMD ? UL_HUGE_ZEROPAGES : UL_ZEROPAGES] += 1;
	if (s->to == UL_PMD && d->leaf == UL_PTE && d->deposit) {
		install_table(l, UL_PTE, 1);
		l[UL_DEPOSITS] += 1;
	}
}

static void flush(int32_t other_cpus, uint64_t *l)
{
	l[UL_FLUSHES] += 1;
	l[UL_IPIS] += (uint64_t)other_cpus;
}

static void tell_handler(uint32_t entry, uint64_t *l)
{
	l[UL_EVENTS_WP] += 1;
	l[UL_FALSE] += !(entry & OWED);
	l[UL_RESOLVES] += 1;
	l[UL_LOCK_MMAP] += 1;
	l[UL_LOCK_PTE] += 1;
}

static void trap(uint64_t *l)
{
	l[UL_TRAPS] += 1;
	l[UL_LOCK_VMA] += 1;
	l[UL_LOCK_PTE] += 1;
}

static void touch_empty(const struct ul_design *d, const struct shape *s, uint64_t *l)
{
	trap(l);
	l[UL_FAULT_EMPTY] += 1;
	if (d->missing) {
		l[UL_EVENTS_MISSING] += 1;
		l[UL_PAGES_COPIED] += s->to == UL_PTE;
		l[UL_RESOLVES] += 1;
		l[UL_LOCK_VMA] += 1;
		l[UL_LOCK_PTE] += 1;
		l[UL_PAGES + s->to] += 1;
		return;
	}
	if (s->write && s->entry & PROTECTED)
		tell_handler(s->entry, l);
	else if (s->write)
		l[UL_LOST] += !!(s->entry & OWED);
	map_first(d, s, l);
}

static void resolve(const struct ul_design *d, const struct shape *s, uint64_t *l)
{
	l[UL_FAULT_PROTECTED] += 1;
	l[KIND(s->entry) == ZERO && s->to == UL_PTE ? UL_RESOLVED_ZERO : UL_RESOLVED_PTE + s->to] += 1;
	if (!d->async)
		tell_handler(s->entry, l);
}

/* The page comes first, protected; the write then traps again (hence two faults) and is reported. */
static void touch_marker(const struct ul_design *d, const struct shape *s, uint64_t *l)
{
	trap(l);
	l[UL_FAULT_MARKER] += 1;
	map_first(d, s, l);
	if (!s->write)
		return;
	trap(l);
	resolve(d, s, l);
}

static void split(const struct ul_design *d, enum kind kind, int32_t other_cpus, uint64_t *l)
{
	l[kind == ZERO ? UL_SPLIT_ZEROPAGES : UL_SPLIT_PAGES] += 1;
	if (!d->deposit)
		install_table(l, UL_PTE, 1);
	flush(other_cpus, l);
}

static void write_present(const struct ul_design *d, const struct shape *s, int32_t other_cpus, uint64_t *l)
{
	enum kind kind = KIND(s->entry);

	if (s->entry & PROTECTED) {
		trap(l);
		if (s->to < s->from)
			split(d, kind, other_cpus, l);
		resolve(d, s, l);
	} else {
		l[UL_LOST] += !!(s->entry & OWED);
		if (kind == PAGE)
			return;
		trap(l);
		l[UL_FAULT_ZEROPAGE] += 1;
	}
	if (kind == PAGE)
		return;
	/* The zeropage gives way to a page, which a deposit that is there already serves as well. */
	l[UL_PAGES + s->to] += 1;
	flush(other_cpus, l);
}

/* What one touch of a shape counts. */
void ul_shape_ledger(const struct ul_design *d, int32_t other_cpus, uint32_t code, uint64_t *l)
{
	struct shape s = shape_decode(code);
	enum kind kind = KIND(s.entry);

	for (int i = 0; i < UL_EVENTS; i++)
		l[i] = 0;
	l[s.write ? UL_WRITES : UL_READS] = 1;
	if (kind == EMPTY || kind == MARKER)
		fill_between(d, &s, l);
	if (kind == EMPTY)
		touch_empty(d, &s, l);
	else if (kind == MARKER)
		touch_marker(d, &s, l);
	else if (s.write)
		write_present(d, &s, other_cpus, l);
}
