/* SPDX-License-Identifier: MIT */
/*
 * Counts the pages of a mapping by state, from /proc/PID/pagemap of any process:
 * by PAGEMAP_SCAN, or by reading it (occupancy_read.c). Both read page tables
 * only: no page is faulted in, and the other process is not modified.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "occupancy.h"
#include "uapi.h"

#define REGIONS 32768		/* 768 KiB: a system call per that many regions */
#define BUFFER (REGIONS * sizeof(struct ul_page_region))
#define RUN_STATE_BITS 2

_Static_assert(BUFFER >= ENTRIES * sizeof(uint64_t), "one buffer for both methods");

struct ul_occupancy *ul_occupancy_new(uint64_t large_bytes, uint64_t huge_bytes)
{
	struct ul_occupancy *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->buffer = malloc(BUFFER);
	if (!o->buffer) {
		free(o);
		return NULL;
	}
	o->kpageflags = -1;
	o->units[0].bytes = large_bytes;
	o->units[1].bytes = huge_bytes;
	return o;
}

void ul_occupancy_empty(struct ul_occupancy *o)
{
	memset(o->pages, 0, sizeof(o->pages));
	for (int i = 0; i < 2; i++)
		o->units[i] = (struct ul_units){ .bytes = o->units[i].bytes };
	o->huge_bytes = o->huge_zero_bytes = 0;
	o->poisoned = o->calls = o->ns = 0;
	o->frames_hidden = o->types_hidden = 0;
	o->run_count = 0;
}

void ul_occupancy_free(struct ul_occupancy *o)
{
	free(o->runs);
	free(o->buffer);
	free(o);
}

int64_t ul_filesystem(const char *path, uint64_t *block_bytes)
{
	struct statfs found;

	if (statfs(path, &found))
		return -errno;
	*block_bytes = (uint64_t)found.f_bsize;
	return (int64_t)(found.f_type & 0xffffffff);
}

/* --- the account ------------------------------------------------------- */

static void close_unit(struct ul_units *u)
{
	const unsigned int blank = 1u << UL_UNTOUCHED | 1u << UL_ZEROPAGE;
	const unsigned int seen = u->seen;
	const int clipped = u->clipped;

	u->seen = 0;
	u->clipped = 0;
	if (clipped)
		return;
	if (!(seen & (seen - 1))) {
		u->whole[__builtin_ctz(seen)]++;
		return;
	}
	u->mixed++;
	u->blank += !(seen & ~blank);
}

static void account_units(struct ul_units *u, uint64_t start, uint64_t end, unsigned int state)
{
	const uint64_t mask = u->bytes - 1;

	while (start < end) {
		uint64_t stop;

		if (!(start & mask) && end - start >= u->bytes) {
			uint64_t whole = (end - start) / u->bytes;

			u->whole[state] += whole;
			start += whole * u->bytes;
			continue;
		}
		/* The mapping begins inside this unit. */
		if (!u->seen && (start & mask))
			u->clipped = 1;
		u->seen |= 1u << state;
		stop = (start | mask) + 1;
		if (stop > end)
			return;
		close_unit(u);
		start = stop;
	}
}

/* As a bitmap keeps it (uffdlab/datasets/bitmap.py): four states, by whether there is content and whose it is. */
static unsigned int folded(const struct ul_occupancy *o, unsigned int state)
{
	switch (state) {
	case UL_SWAPPED:
	case UL_ELSEWHERE:
		return UL_PRESENT;	/* it has content, in swap or on a device */
	case UL_FILE:
		return o->of_file ? UL_ZEROPAGE : UL_PRESENT;
	case UL_GUARD:
	case UL_SPECIAL:
		return UL_UNTOUCHED;	/* it has none, and an access is an error */
	default:
		return state;
	}
}

static int keep_run(struct ul_occupancy *o, uint64_t pages, unsigned int state)
{
	const uint64_t mask = (1u << RUN_STATE_BITS) - 1;
	uint64_t *more;

	state = folded(o, state);
	if (o->run_count && (o->runs[o->run_count - 1] & mask) == state) {
		o->runs[o->run_count - 1] += pages << RUN_STATE_BITS;
		return 0;
	}
	if (o->run_count == o->run_room) {
		o->run_room = o->run_room ? o->run_room * 2 : 1024;
		more = realloc(o->runs, o->run_room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		o->runs = more;
	}
	o->runs[o->run_count++] = pages << RUN_STATE_BITS | state;
	return 0;
}

int ul_account(struct ul_occupancy *o, uint64_t start, uint64_t end, unsigned int state)
{
	const uint64_t pages = (end - start) / ul_page_bytes();
	const unsigned int counted = state == UL_ELSEWHERE ? UL_SPECIAL : state;

	if (start >= end)
		return 0;
	o->pages[counted] += pages;
	account_units(&o->units[0], start, end, counted);
	account_units(&o->units[1], start, end, counted);
	return o->want_runs ? keep_run(o, pages, state) : 0;
}

void ul_account_huge(struct ul_occupancy *o, uint64_t bytes, int zero)
{
	if (zero)
		o->huge_zero_bytes += bytes;
	else
		o->huge_bytes += bytes;
}

/*
 * Once a process has exited or executed another program, its memory is gone. A
 * read then returns 0; PAGEMAP_SCAN may return no region, as for one big hole.
 */
int64_t ul_read_entries(struct ul_occupancy *o, int pagemap, uint64_t addr, uint64_t *entries, uint64_t count)
{
	ssize_t got = pread(pagemap, entries, count * 8, (off_t)(addr / ul_page_bytes() * 8));

	o->calls++;
	if (got < 8)
		return got < 0 ? -errno : -ESRCH;
	return got / 8;
}

/* --- what is not present ------------------------------------------------ */

static uint64_t flags_of(struct ul_occupancy *o, uint64_t frame)
{
	uint64_t flags;
	ssize_t got = -1;

	if (o->kpageflags >= 0) {
		got = pread(o->kpageflags, &flags, sizeof(flags), (off_t)(frame * 8));
		o->calls++;
	}
	return got == sizeof(flags) ? flags : UL_KPF_NOPAGE;
}

static unsigned int marker_state(struct ul_occupancy *o, uint64_t what, uint64_t entry, uint64_t pages)
{
	if (what & UL_MARKER_GUARD)
		return UL_GUARD;
	if (what & UL_MARKER_POISONED) {
		o->poisoned += pages;
		return UL_SPECIAL;
	}
	return what & UL_MARKER_UFFD_WP || entry & UL_PM_UFFD_WP ? UL_MARKED : UL_SPECIAL;
}

/*
 * A swap entry that holds a PFN: a page being migrated, which is present again in
 * a moment; a page of a device; or a hardware-poisoned page.
 */
static unsigned int unmapped_state(struct ul_occupancy *o, uint64_t frame, uint64_t pages)
{
	const uint64_t flags = flags_of(o, frame);

	if (flags & UL_KPF_HWPOISON) {
		o->poisoned += pages;
		return UL_SPECIAL;
	}
	return flags & UL_KPF_NOPAGE ? UL_ELSEWHERE : UL_PRESENT;
}

/*
 * The state is decided by the swap type, where this user may see it; otherwise by
 * the flag bits, and by whether pages of this mapping can be swapped.
 */
unsigned int ul_absent_state(struct ul_occupancy *o, uint64_t entry, uint64_t pages)
{
	const uint64_t frame = entry & UL_PM_FRAME;
	const uint64_t type = UL_SWAP_TYPE(frame), offset = UL_SWAP_OFFSET(frame);

	if (entry & UL_PM_GUARD)
		return UL_GUARD;
	if (!(entry & UL_PM_SWAP))	/* a marker on hugetlb has no other bit */
		return entry & UL_PM_UFFD_WP ? UL_MARKED : UL_UNTOUCHED;
	if (!frame) {
		o->types_hidden = 1;
		if (entry & UL_PM_UFFD_WP)
			return UL_MARKED;
		return o->may_swap ? UL_SWAPPED : UL_SPECIAL;
	}
	if (type < UL_SWAP_AREAS)
		return UL_SWAPPED;
	if (type == UL_SWAP_TYPE_MARKER)
		return marker_state(o, offset, entry, pages);
	return unmapped_state(o, offset, pages);
}

static unsigned int state_now(struct ul_occupancy *o, uint64_t entry, uint64_t pages)
{
	if (!(entry & UL_PM_PRESENT))
		return ul_absent_state(o, entry, pages);
	return ul_present_state(o, entry);	/* changed since the scan: the current state counts */
}

static int account_absent(struct ul_occupancy *o, int pagemap, uint64_t start, uint64_t end)
{
	const uint64_t page = ul_page_bytes();
	uint64_t entries[512];
	int ret = 0;

	while (start < end && !ret) {
		uint64_t wanted = (end - start) / page;
		int64_t got = ul_read_entries(o, pagemap, start, entries, wanted < 512 ? wanted : 512);

		if (got < 0)
			return (int)got;
		for (int64_t i = 0; i < got && !ret; i++, start += page)
			ret = ul_account(o, start, start + page, state_now(o, entries[i], 1));
	}
	return ret;
}

static unsigned int hugetlb_state_now(struct ul_occupancy *o, uint64_t entry)
{
	if (entry & UL_PM_PRESENT)
		return ul_present_state(o, entry);
	return entry & UL_PM_UFFD_WP ? UL_MARKED : UL_SPECIAL;	/* no other marker shows in pagemap */
}

/* One entry per huge page is enough. */
static int account_absent_hugetlb(struct ul_occupancy *o, int pagemap, uint64_t start, uint64_t end)
{
	int ret = 0;

	while (start < end && !ret) {
		uint64_t next = (start | (o->hugetlb - 1)) + 1;
		uint64_t entry;
		int64_t got = ul_read_entries(o, pagemap, start, &entry, 1);

		if (got < 0)
			return (int)got;
		if (next > end)
			next = end;
		ret = ul_account(o, start, next, hugetlb_state_now(o, entry));
		start = next;
	}
	return ret;
}

/* --- PAGEMAP_SCAN ------------------------------------------------------ */

static int64_t known_categories(int pagemap, uint64_t mask)
{
	struct ul_pm_scan_arg arg = { .size = sizeof(arg), .return_mask = mask };

	return ioctl(pagemap, UL_PAGEMAP_SCAN, &arg) < 0 ? -errno : (int64_t)mask;
}

int64_t ul_occupancy_categories(int pagemap)
{
	const uint64_t wanted = UL_PAGE_IS_WRITTEN | UL_PAGE_IS_FILE | UL_PAGE_IS_PRESENT |
				UL_PAGE_IS_SWAPPED | UL_PAGE_IS_PFNZERO | UL_PAGE_IS_HUGE;
	int64_t ret = known_categories(pagemap, wanted | UL_PAGE_IS_GUARD);

	return ret == -EINVAL ? known_categories(pagemap, wanted) : ret;
}

/*
 * Whether a region of one mapping whose pages the scan calls swapped holds nothing but
 * uffd-wp markers: nothing of it was written since it was protected, so that either each
 * entry has the bit, or (since 7.3, which tells that of protected ranges only) none.
 */
static int wholly_marked(struct ul_occupancy *o, int pagemap, const struct ul_page_region *r)
{
	uint64_t entry;

	if (o->may_swap || r->categories & UL_PAGE_IS_WRITTEN)
		return 0;
	return ul_read_entries(o, pagemap, r->start, &entry, 1) == 1 && entry & UL_PM_UFFD_WP &&
	       !(entry & UL_PM_PRESENT);
}

static int account_region(struct ul_occupancy *o, int pagemap, const struct ul_page_region *r)
{
	const uint64_t is = r->categories;

	if (is & UL_PAGE_IS_PRESENT) {
		const int zero = is & UL_PAGE_IS_PFNZERO && !o->hugetlb;
		const int of_file = is & UL_PAGE_IS_FILE && o->cow;

		if (is & UL_PAGE_IS_HUGE)
			ul_account_huge(o, r->end - r->start, zero);
		return ul_account(o, r->start, r->end, zero ? UL_ZEROPAGE : of_file ? UL_FILE : UL_PRESENT);
	}
	if (is & UL_PAGE_IS_GUARD)
		return ul_account(o, r->start, r->end, UL_GUARD);
	if (wholly_marked(o, pagemap, r))
		return ul_account(o, r->start, r->end, UL_MARKED);
	if (o->hugetlb)
		return account_absent_hugetlb(o, pagemap, r->start, r->end);
	return account_absent(o, pagemap, r->start, r->end);
}

static int scan_ranges(struct ul_occupancy *o, int pagemap, struct ul_pm_scan_arg *arg,
		       struct ul_page_region *regions)
{
	const uint64_t end = arg->end;
	uint64_t at = arg->start;	/* everything below is accounted for */
	int got, ret = 0;

	do {
		got = ioctl(pagemap, UL_PAGEMAP_SCAN, arg);
		o->calls++;
		if (got < 0)
			return -errno;
		for (int i = 0; i < got && !ret; i++) {
			ret = ul_account(o, at, regions[i].start, UL_UNTOUCHED);
			if (!ret)
				ret = account_region(o, pagemap, &regions[i]);
			at = regions[i].end;
		}
		/*
		 * The kernel (6.7 to 6.18 at least) leaves walk_end where its inner
		 * buffer of 512 regions was full last, even if it went on to the end:
		 * starting there again would give the same regions twice.
		 */
		arg->start = arg->walk_end > at ? arg->walk_end : at;
	} while (!ret && arg->start < end);
	return ret ? ret : ul_account(o, at, end, UL_UNTOUCHED);
}

int ul_occupancy_scan(struct ul_occupancy *o, int pagemap, uint64_t categories, uint64_t start, uint64_t end)
{
	struct ul_page_region *regions = o->buffer;
	struct ul_pm_scan_arg arg = {
		.size = sizeof(arg), .start = start, .end = end,
		.vec = (uint64_t)(uintptr_t)regions, .vec_len = REGIONS,
		.category_anyof_mask = UL_PAGE_IS_PRESENT | UL_PAGE_IS_SWAPPED,
		.return_mask = categories,
	};
	uint64_t began = ul_now_ns(), entry;
	int64_t got;
	int ret;

	ret = scan_ranges(o, pagemap, &arg, regions);
	if (!ret) {
		got = ul_read_entries(o, pagemap, start, &entry, 1);
		ret = got < 0 ? (int)got : 0;
	}
	o->ns += ul_now_ns() - began;
	return ret;
}
