/* SPDX-License-Identifier: MIT */
#ifndef UFFDLAB_SIM_SHAPE_H
#define UFFDLAB_SIM_SHAPE_H

#include "sim.h"

/*
 * Contents of an entry of any level. EMPTY is an entry without a table below
 * it; a page or a zeropage at the PMD level is a huge one.
 */
enum kind { EMPTY, MARKER, ZERO, PAGE };

#define KIND(entry) ((enum kind)((entry) & 3u))
#define PROTECTED 4u /* the kernel's bit: a write faults */
#define OWED 8u	     /* ours: a write has to be reported, or else is lost */

/* The shape of a touch: everything its ledger depends on besides the design. */
struct shape {
	int write;
	uint32_t entry; /* what it found: kind, PROTECTED, OWED */
	int from, to;	/* level of the entry it found, and of the one it left */
	int pud;	/* whether it makes the PUD table */
};

#define SHAPES 1024u
#define PTRS 512u
#define MOST_PAGES (1ull << 32)	   /* 16 TiB */
#define ADDRESS_PAGES (1ull << 35) /* the 47 bits of user space */

/* Effect of a touch on an entry, besides filling the tables between. */
struct outcome {
	uint32_t next; /* the entry afterwards, at level `to` */
	int to;
	int hit; /* no fault */
};

uint32_t shape_code(struct shape shape);
struct shape shape_decode(uint32_t code);
struct outcome decide(const struct ul_design *d, uint32_t entry, int level, int write, int huge_fits);
int mapping_zeropage(const struct ul_design *d, int to);

static inline uint64_t entries(int levels)
{
	return 1ull << (9 * levels); /* 512 to the power of levels */
}

#endif
