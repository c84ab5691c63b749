/* SPDX-License-Identifier: MIT */
/*
 * How much of a mapping is populated, and with what: /proc/PID/pagemap of any
 * process, by PAGEMAP_SCAN where there is one and by reading it where not. Both
 * look at page tables only: no page is faulted in, and nothing of the other
 * process is written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "probe.h"
#include "uapi.h"

#define REGIONS 32768		/* 768 KiB: a system call per that many stretches of equal pages */
#define ENTRIES 32768		/* 256 KiB of pagemap: 128 MiB of address space a read */
#define RUN_STATE_BITS 2

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

struct ul_occupancy *ul_occupancy_new(uint64_t large_bytes, uint64_t huge_bytes)
{
	struct ul_occupancy *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->units[0].bytes = large_bytes;
	o->units[1].bytes = huge_bytes;
	return o;
}

void ul_occupancy_free(struct ul_occupancy *o)
{
	free(o->runs);
	free(o);
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
		/* Nothing seen before, and not at a unit's edge: the mapping begins here. */
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

static int keep_run(struct ul_occupancy *o, uint64_t pages, unsigned int state)
{
	const uint64_t mask = (1u << RUN_STATE_BITS) - 1;
	uint64_t *more;

	if (state == UL_SWAPPED)
		state = UL_PRESENT;	/* it has content, wherever that is */
	else if (state == UL_GUARD)
		state = UL_UNTOUCHED;	/* it has none, and never will */
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

static int account(struct ul_occupancy *o, uint64_t start, uint64_t end, unsigned int state)
{
	const uint64_t pages = (end - start) / page_bytes();

	if (start >= end)
		return 0;
	o->pages[state] += pages;
	account_units(&o->units[0], start, end, state);
	account_units(&o->units[1], start, end, state);
	return o->want_runs ? keep_run(o, pages, state) : 0;
}

static void account_huge(struct ul_occupancy *o, uint64_t bytes, int zero)
{
	if (zero)
		o->huge_zero_bytes += bytes;
	else
		o->huge_bytes += bytes;
}

/*
 * Once a process has exited or executed another program, its memory is gone. A
 * read then ends at once; PAGEMAP_SCAN need not say so, and an empty answer from
 * it would pass for one big hole.
 */
static int still_there(struct ul_occupancy *o, int pagemap, uint64_t addr)
{
	uint64_t entry;
	ssize_t got = pread(pagemap, &entry, sizeof(entry), (off_t)(addr / page_bytes() * 8));

	o->calls++;
	if (got < 0)
		return -errno;
	return got == sizeof(entry) ? 0 : -ESRCH;
}

/* --- a marker and a swapped page --------------------------------------- */

/*
 * Both are not present and may carry uffd-wp. The swap type tells them apart,
 * where this user may see it; otherwise the bit alone decides.
 */
static unsigned int absent_state(struct ul_occupancy *o, uint64_t entry)
{
	const uint64_t frame = entry & UL_PM_FRAME;

	if (entry & UL_PM_GUARD)
		return UL_GUARD;
	if (!(entry & UL_PM_UFFD_WP))
		return entry & UL_PM_SWAP ? UL_SWAPPED : UL_UNTOUCHED;
	if (!frame && (entry & UL_PM_SWAP))
		o->frames_hidden = 1;
	return frame && UL_SWAP_TYPE(frame) != UL_SWAP_TYPE_MARKER ? UL_SWAPPED : UL_MARKED;
}

static int account_absent(struct ul_occupancy *o, int pagemap, uint64_t start, uint64_t end)
{
	const uint64_t page = page_bytes();
	uint64_t entries[512];

	while (start < end) {
		uint64_t wanted = (end - start) / page;
		ssize_t got;

		if (wanted > 512)
			wanted = 512;
		got = pread(pagemap, entries, wanted * 8, (off_t)(start / page * 8));
		o->calls++;
		if (got < 8)
			return got < 0 ? -errno : -ESRCH;
		for (ssize_t i = 0; i < got / 8; i++, start += page) {
			/* It may have changed since the scan: then what it is now counts. */
			unsigned int state = entries[i] & UL_PM_PRESENT ? UL_PRESENT
									: absent_state(o, entries[i]);
			int ret = account(o, start, start + page, state);

			if (ret)
				return ret;
		}
	}
	return 0;
}

/* --- PAGEMAP_SCAN ------------------------------------------------------ */

static int64_t known_categories(int pagemap, uint64_t mask)
{
	struct ul_pm_scan_arg arg = { .size = sizeof(arg), .return_mask = mask };

	return ioctl(pagemap, UL_PAGEMAP_SCAN, &arg) < 0 ? -errno : (int64_t)mask;
}

int64_t ul_occupancy_categories(int pagemap)
{
	const uint64_t wanted = UL_PAGE_IS_WRITTEN | UL_PAGE_IS_PRESENT | UL_PAGE_IS_SWAPPED |
				UL_PAGE_IS_PFNZERO | UL_PAGE_IS_HUGE;
	int64_t ret = known_categories(pagemap, wanted | UL_PAGE_IS_GUARD);

	return ret == -EINVAL ? known_categories(pagemap, wanted) : ret;
}

static int account_region(struct ul_occupancy *o, int pagemap, const struct ul_page_region *r)
{
	const uint64_t is = r->categories;

	if (is & UL_PAGE_IS_PRESENT) {
		const int zero = !!(is & UL_PAGE_IS_PFNZERO);

		if (is & UL_PAGE_IS_HUGE)
			account_huge(o, r->end - r->start, zero);
		return account(o, r->start, r->end, zero ? UL_ZEROPAGE : UL_PRESENT);
	}
	if (is & UL_PAGE_IS_GUARD)
		return account(o, r->start, r->end, UL_GUARD);
	if (is & UL_PAGE_IS_WRITTEN)
		return account(o, r->start, r->end, UL_SWAPPED);
	/* A marker, or a page that was swapped while it was protected. */
	if (o->check_markers && !o->hugetlb)
		return account_absent(o, pagemap, r->start, r->end);
	return account(o, r->start, r->end, UL_MARKED);
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
			ret = account(o, at, regions[i].start, UL_UNTOUCHED);
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
	return ret ? ret : account(o, at, end, UL_UNTOUCHED);
}

int ul_occupancy_scan(struct ul_occupancy *o, int pagemap, uint64_t categories, uint64_t start, uint64_t end)
{
	struct ul_page_region *regions = malloc(REGIONS * sizeof(*regions));
	struct ul_pm_scan_arg arg = {
		.size = sizeof(arg), .start = start, .end = end,
		.vec = (uint64_t)(uintptr_t)regions, .vec_len = REGIONS,
		.category_anyof_mask = UL_PAGE_IS_PRESENT | UL_PAGE_IS_SWAPPED,
		.return_mask = categories,
	};
	uint64_t began = ul_now_ns();
	int ret;

	if (!regions)
		return -ENOMEM;
	ret = scan_ranges(o, pagemap, &arg, regions);
	if (!ret)
		ret = still_there(o, pagemap, start);
	free(regions);
	o->ns += ul_now_ns() - began;
	return ret;
}

/* --- reading pagemap and kpageflags ------------------------------------ */

struct reader {
	struct ul_occupancy *o;
	int kpageflags;			/* negative: not to be had */
	uint64_t zero_frame;		/* met last: zeropages share it, and would cost a read each */
	uint64_t flags[512];
};

/* Flags of frames that follow one another; 0 where they are not told. */
static void read_flags(struct reader *r, uint64_t frame, uint64_t count)
{
	ssize_t got = -1;

	if (count == 1 && frame && frame == r->zero_frame) {
		r->flags[0] = UL_KPF_ZERO_PAGE;
		return;
	}
	if (r->kpageflags >= 0 && frame) {
		got = pread(r->kpageflags, r->flags, count * 8, (off_t)(frame * 8));
		r->o->calls++;
	}
	if (got != (ssize_t)(count * 8))
		r->o->frames_hidden = 1;
	for (uint64_t i = got > 0 ? (uint64_t)got / 8 : 0; i < count; i++)
		r->flags[i] = 0;
	if (count == 1 && (r->flags[0] & UL_KPF_ZERO_PAGE))
		r->zero_frame = frame;
}

/* Present entries from the first whose frames follow one another, at most those of one large unit. */
static uint64_t contiguous(const uint64_t *entries, uint64_t count)
{
	const uint64_t first = entries[0] & UL_PM_FRAME;
	uint64_t i;

	for (i = 1; i < count && i < 512; i++)
		if (!(entries[i] & UL_PM_PRESENT) || !first || (entries[i] & UL_PM_FRAME) != first + i)
			break;
	return i;
}

/*
 * pagemap does not tell how a page is mapped: what fills an aligned large unit
 * with an aligned huge page is taken for one huge mapping.
 */
static int looks_huge(const struct reader *r, uint64_t addr, uint64_t frame, uint64_t count)
{
	const uint64_t bytes = r->o->units[0].bytes;
	const uint64_t page = page_bytes();

	return count * page == bytes && !(addr & (bytes - 1)) && !(frame * page & (bytes - 1)) &&
	       (r->flags[0] & UL_KPF_THP);
}

static int account_present(struct reader *r, uint64_t addr, const uint64_t *entries, uint64_t count)
{
	const uint64_t frame = entries[0] & UL_PM_FRAME;
	const uint64_t page = page_bytes();
	int ret = 0;

	if (r->o->hugetlb) {
		account_huge(r->o, count * page, 0);
		return account(r->o, addr, addr + count * page, UL_PRESENT);
	}
	read_flags(r, frame, count);
	if (looks_huge(r, addr, frame, count))
		account_huge(r->o, count * page, !!(r->flags[0] & UL_KPF_ZERO_PAGE));
	for (uint64_t i = 0; i < count && !ret; i++, addr += page)
		ret = account(r->o, addr, addr + page,
			      r->flags[i] & UL_KPF_ZERO_PAGE ? UL_ZEROPAGE : UL_PRESENT);
	return ret;
}

/* How many entries from the first are alike in that there is no page behind them. */
static uint64_t alike(const uint64_t *entries, uint64_t count)
{
	uint64_t i;

	for (i = 1; i < count; i++)
		if (entries[i] != entries[0])
			break;
	return i;
}

static int account_entries(struct reader *r, uint64_t addr, const uint64_t *entries, uint64_t count)
{
	const uint64_t page = page_bytes();
	int ret = 0;

	for (uint64_t i = 0, same; i < count && !ret; i += same) {
		uint64_t at = addr + i * page;

		if (entries[i] & UL_PM_PRESENT) {
			/* A run must not straddle a large unit, or a huge page would be missed. */
			uint64_t left = (r->o->units[0].bytes - (at & (r->o->units[0].bytes - 1))) / page;

			same = contiguous(entries + i, left < count - i ? left : count - i);
			ret = account_present(r, at, entries + i, same);
		} else {
			same = alike(entries + i, count - i);
			ret = account(r->o, at, at + same * page, absent_state(r->o, entries[i]));
		}
	}
	return ret;
}

/* How many entries to read from here: up to a multiple of the buffer, so that no large unit is cut. */
static uint64_t entries_until_cut(uint64_t start, uint64_t end)
{
	const uint64_t index = start / page_bytes();
	const uint64_t whole = ENTRIES - index % ENTRIES;
	const uint64_t left = (end - start) / page_bytes();

	return left < whole ? left : whole;
}

int ul_occupancy_read(struct ul_occupancy *o, int pagemap, int kpageflags, uint64_t start, uint64_t end)
{
	struct reader r = { .o = o, .kpageflags = kpageflags };
	uint64_t *entries = malloc(ENTRIES * sizeof(*entries));
	const uint64_t page = page_bytes();
	uint64_t began = ul_now_ns();
	int ret = entries ? 0 : -ENOMEM;

	while (!ret && start < end) {
		const uint64_t wanted = entries_until_cut(start, end);
		ssize_t got = pread(pagemap, entries, wanted * 8, (off_t)(start / page * 8));

		o->calls++;
		if (got < 8) {
			ret = got < 0 ? -errno : -ESRCH;
			break;
		}
		ret = account_entries(&r, start, entries, (uint64_t)got / 8);
		start += (uint64_t)got / 8 * page;
	}
	free(entries);
	o->ns += ul_now_ns() - began;
	return ret;
}
