/* SPDX-License-Identifier: MIT */
/*
 * The state of a range. An entry whose lowest entries are all alike is one
 * number: their contents, and how many levels of tables lie between. A table is
 * written out only where its entries differ, so that memory and time depend on
 * the touches and not on the span.
 *
 * Everything lies in one block of memory without pointers, so that copying the
 * block copies the state.
 */
#ifndef UFFDLAB_SIM_STATE_H
#define UFFDLAB_SIM_STATE_H

#include "sim_shape.h"

#define PMD_PAGES 512ull
#define PUD_PAGES (512ull * 512)
#define PGD_PAGES (512ull * 512 * 512)

/* Contents of an entry of a PUD or PMD table; an entry of a PTE table has only the four bits of sim_shape.h. */
#define ENTRY 15u
#define DEPTH_SHIFT 4
#define DEPTH(slot) ((int)((slot) >> DEPTH_SHIFT & 3u))
#define UNIFORM(entry, depth) ((entry) | (uint32_t)(depth) << DEPTH_SHIFT)
#define WRITTEN_OUT (1u << 31) /* the slot numbers a table */
/*
 * The table exists only in the simulator: the kernel's entry is empty, and
 * some of its pages are OWED while others are not.
 */
#define BOOKS_ONLY (1u << 30)
#define NUMBER(slot) ((slot) & (BOOKS_ONLY - 1))

#define UNIT_BYTES 512u
#define PTE_UNITS 1u
#define PMD_UNITS 4u
#define PATH_UNITS (PTE_UNITS + PMD_UNITS) /* for one page written out on its own */

struct ul_sim {
	struct ul_design design;
	int32_t other_cpus;
	int32_t armed; /* protected once: the VMA of a design that remembers is protected */
	int32_t flushing; /* the current operation needs a TLB flush */
	uint64_t start, end; /* pages, end exclusive */
	uint64_t pud_tables; /* bit n: PUD table n above the start exists */
	uint64_t tables, most_tables, pages, most_pages;
	uint32_t puds, units, used;
	uint32_t free[2]; /* written-out tables not in use, by level of their entries */
	uint32_t padding;
	uint64_t ledger[UL_EVENTS]; /* without the `fresh` touches */
	uint64_t shapes[SHAPES];    /* touches of this phase */
	uint64_t fresh[SHAPES];	    /* those of them not in the ledger yet */
	struct growth {
		uint32_t known, tables, pages;
	} growth[SHAPES]; /* by one touch, under this design */
	/* then the PUD entries, then units */
};

static inline uint64_t pages_of(int level)
{
	return entries(level);
}

static inline uint32_t *pud_entries(struct ul_sim *sim)
{
	return (uint32_t *)(sim + 1);
}

static inline uint64_t pud_bytes(uint32_t puds)
{
	return ((uint64_t)puds * sizeof(uint32_t) + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES;
}

static inline uint8_t *unit(struct ul_sim *sim, uint32_t number)
{
	return (uint8_t *)pud_entries(sim) + pud_bytes(sim->puds) + (uint64_t)number * UNIT_BYTES;
}

static inline uint32_t *pmd_entries(struct ul_sim *sim, uint32_t slot)
{
	return (uint32_t *)(void *)unit(sim, NUMBER(slot));
}

static inline uint8_t *pte_entries(struct ul_sim *sim, uint32_t slot)
{
	return unit(sim, NUMBER(slot));
}

/* Whether two paths of tables can still be written out: a part has two ends. */
static inline int has_room(const struct ul_sim *sim)
{
	return (uint64_t)sim->used + 2 * PATH_UNITS <= sim->units;
}

/* Pages of an operation, end exclusive. */
struct part {
	uint64_t first, end;
};

/* What an operation covers of the entry of a level that begins at a page. */
static inline struct part below(struct part part, uint64_t page, int level)
{
	uint64_t end = page + pages_of(level);

	return (struct part){ part.first > page ? part.first : page, part.end < end ? part.end : end };
}

static inline int is_whole(struct part part, int level)
{
	return part.end - part.first == pages_of(level);
}

static inline uint32_t *pud_entry(struct ul_sim *sim, uint64_t page)
{
	return &pud_entries(sim)[page / PUD_PAGES - sim->start / PUD_PAGES];
}

enum operation { PROTECT, UNPROTECT, DISCARD };

void settle_ledger(struct ul_sim *sim);
uint32_t write_out(struct ul_sim *sim, int level, uint32_t child);
void drop(struct ul_sim *sim, int level, uint32_t slot);
void count_tables(struct ul_sim *sim, int level, uint64_t count);
void free_pte_tables(struct ul_sim *sim, uint64_t count);
int make_pud_table(struct ul_sim *sim, uint64_t page);
int touch(struct ul_sim *sim, uint64_t page, int write);
int touch_range(struct ul_sim *sim, uint64_t page, uint64_t end, int write);
int in_range(const struct ul_sim *sim, uint64_t first, uint64_t count);
uint64_t count_entries(struct ul_sim *sim, struct part part);
int aligned(const struct ul_sim *sim, uint64_t first, uint64_t count);
int walk_range(struct ul_sim *sim, enum operation op, struct part part);
uint32_t unprotect_slot(struct ul_sim *sim, uint32_t slot, int level);
void split_huge(struct ul_sim *sim, enum kind kind, uint64_t count);

#endif
