/* SPDX-License-Identifier: MIT */
/* Shared by both methods of scanning a mapping. */
#ifndef UFFDLAB_OCCUPANCY_H
#define UFFDLAB_OCCUPANCY_H

#include <unistd.h>

#include "probe.h"
#include "uapi.h"

#define ENTRIES 32768		/* 256 KiB of pagemap: 128 MiB of address space a read */
#define UL_ELSEWHERE UL_PAGE_STATES	/* special, and it has content: a device holds it */

static inline uint64_t ul_page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* State of a present pagemap entry: in a private mapping, a page of the file is not its own. */
static inline unsigned int ul_present_state(const struct ul_occupancy *o, uint64_t entry)
{
	return entry & UL_PM_FILE && o->cow ? UL_FILE : UL_PRESENT;
}

/* State of `pages` equal pagemap entries that are not present. */
unsigned int ul_absent_state(struct ul_occupancy *o, uint64_t entry, uint64_t pages);

/* Reads up to `count` pagemap entries from an address on. Returns how many, or -errno: -ESRCH if the memory is gone. */
int64_t ul_read_entries(struct ul_occupancy *o, int pagemap, uint64_t addr, uint64_t *entries, uint64_t count);

int ul_account(struct ul_occupancy *o, uint64_t start, uint64_t end, unsigned int state);
void ul_account_huge(struct ul_occupancy *o, uint64_t bytes, int zero);

#endif
