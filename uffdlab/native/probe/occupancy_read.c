/* SPDX-License-Identifier: MIT */
/* Without PAGEMAP_SCAN: /proc/PID/pagemap entry by entry, and /proc/kpageflags for zeropages and huge pages. */
#define _GNU_SOURCE
#include <unistd.h>

#include "occupancy.h"
#include "uapi.h"

struct reader {
	struct ul_occupancy *o;
	uint64_t zero_frame;		/* cached: zeropages share it, and would cost a read each */
	uint64_t flags[512];
};

/* Flags of consecutive frames; 0 where they are hidden. */
static void read_flags(struct reader *r, uint64_t frame, uint64_t count)
{
	ssize_t got = -1;

	if (count == 1 && frame && frame == r->zero_frame) {
		r->flags[0] = UL_KPF_ZERO_PAGE;
		return;
	}
	if (r->o->kpageflags >= 0 && frame) {
		got = pread(r->o->kpageflags, r->flags, count * 8, (off_t)(frame * 8));
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
 * pagemap does not show how a page is mapped: an aligned huge page that fills an
 * aligned large unit is taken for one huge mapping.
 */
static int looks_huge(const struct reader *r, uint64_t addr, uint64_t frame, uint64_t count)
{
	const uint64_t bytes = r->o->units[0].bytes;
	const uint64_t page = ul_page_bytes();

	return count * page == bytes && !(addr & (bytes - 1)) && !(frame * page & (bytes - 1)) &&
	       (r->flags[0] & UL_KPF_THP);
}

static int account_present(struct reader *r, uint64_t addr, const uint64_t *entries, uint64_t count)
{
	const uint64_t frame = entries[0] & UL_PM_FRAME;
	const uint64_t page = ul_page_bytes();
	const int hugetlb = !!r->o->hugetlb;
	int ret = 0;

	if (!hugetlb)
		read_flags(r, frame, count);
	if (hugetlb || looks_huge(r, addr, frame, count))
		ul_account_huge(r->o, count * page, !hugetlb && r->flags[0] & UL_KPF_ZERO_PAGE);
	for (uint64_t i = 0; i < count && !ret; i++, addr += page) {
		const int zero = !hugetlb && r->flags[i] & UL_KPF_ZERO_PAGE;

		ret = ul_account(r->o, addr, addr + page, zero ? UL_ZEROPAGE : ul_present_state(r->o, entries[i]));
	}
	return ret;
}

/* How many entries from the first on are equal. */
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
	const uint64_t page = ul_page_bytes();
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
			ret = ul_account(r->o, at, at + same * page, ul_absent_state(r->o, entries[i], same));
		}
	}
	return ret;
}

/* How many entries to read from here: up to a multiple of the buffer, so that no large unit is cut. */
static uint64_t entries_until_cut(uint64_t start, uint64_t end)
{
	const uint64_t index = start / ul_page_bytes();
	const uint64_t whole = ENTRIES - index % ENTRIES;
	const uint64_t left = (end - start) / ul_page_bytes();

	return left < whole ? left : whole;
}

int ul_occupancy_read(struct ul_occupancy *o, int pagemap, uint64_t start, uint64_t end)
{
	struct reader r = { .o = o };
	uint64_t *entries = o->buffer;
	uint64_t began = ul_now_ns();
	int ret = 0;

	while (!ret && start < end) {
		const uint64_t wanted = entries_until_cut(start, end);
		int64_t got = ul_read_entries(o, pagemap, start, entries, wanted);

		ret = got < 0 ? (int)got : account_entries(&r, start, entries, (uint64_t)got);
		start += (uint64_t)got * ul_page_bytes();
	}
	o->ns += ul_now_ns() - began;
	return ret;
}
