/* SPDX-License-Identifier: MIT */
/*
 * Operations on parts of a range: protecting (PTE markers, PMD markers, PUD
 * markers), resolving, discarding. A walk goes down to uniform slots that lie in
 * the part as a whole, and changes each of them at once; a slot that the part
 * cuts is written out first: by the kernel, or in the simulator only.
 */
#include "sim_state.h"

/* --- a slot as a whole -------------------------------------------------------------------------------------------- */

/* Tables for entries of a lower level, all of them below one slot. */
static void make_tables(struct ul_sim *sim, uint64_t page, int level, int from, int to)
{
	if (from == UL_PUD && make_pud_table(sim, page))
		count_tables(sim, UL_PUD, 1);
	for (int table = from - 1; table >= to; table--)
		count_tables(sim, table, entries(level - 1 - table));
}

/* The locks of the tables below a slot; nothing is locked to see that an entry above them is empty. */
static void count_locks(struct ul_sim *sim, uint32_t slot, int level)
{
	int found = level - DEPTH(slot);

	if (found == UL_PTE && level > UL_PTE)
		sim->ledger[UL_LOCK_PTE] += entries(level - 1);
	if (found == UL_PMD && KIND(slot) != EMPTY && KIND(slot) != MARKER)
		sim->ledger[UL_LOCK_PMD] += entries(level - found);
}

/* Look at every entry below a slot; above the last level an empty one is passed at once. */
static void count_visits(struct ul_sim *sim, uint32_t slot, int level)
{
	int found = level - DEPTH(slot);

	count_locks(sim, slot, level);
	if (KIND(slot) != EMPTY || found == UL_PTE)
		sim->ledger[UL_VISITED_PTE + found] += entries(DEPTH(slot));
}

static enum ul_event zapped(const struct ul_sim *sim, uint32_t slot, int found)
{
	if (sim->design.leaf > UL_PTE)
		return found == UL_PMD ? UL_ZAPPED_PMD : UL_ZAPPED_PUD;
	if (KIND(slot) == ZERO)
		return found == UL_PTE ? UL_ZAPPED_ZERO : UL_ZAPPED_HUGE_ZERO;
	return found == UL_PTE ? UL_ZAPPED_PAGES : UL_ZAPPED_HUGE_PAGES;
}

/* What the tables that were made hold is gone over like what was there. */
static uint32_t protect_empty(struct ul_sim *sim, uint32_t slot, int level, uint64_t page)
{
	const struct ul_design *d = &sim->design;
	int from = level - DEPTH(slot), to = from < d->level ? from : d->level;
	uint64_t count;

	if (d->empty == UL_EMPTY_STAYS) {
		count_visits(sim, slot, level);
		if (from == UL_PTE)
			sim->ledger[UL_ASKED_PTE] += entries(level);
		return slot | OWED;
	}
	if (d->empty == UL_EMPTY_ZEROPAGE && to < UL_PMD)
		to = UL_PTE;
	make_tables(sim, page, level, from, to);
	count_visits(sim, UNIFORM(MARKER, level - to), level);
	count = entries(level - to);
	if (to == UL_PTE)
		sim->ledger[UL_ASKED_PTE] += count;
	if (d->empty == UL_EMPTY_MARKED) {
		sim->ledger[UL_MARKERS_PTE + to] += count;
		return UNIFORM(MARKER | PROTECTED | OWED, level - to);
	}
	sim->ledger[to == UL_PMD ? UL_FILLED_HUGE_ZERO : UL_FILLED_ZERO] += count;
	if (to == UL_PMD && d->deposit) {
		count_tables(sim, UL_PTE, count);
		sim->ledger[UL_DEPOSITS] += count;
	}
	return UNIFORM(ZERO | PROTECTED | OWED, level - to);
}

static int is_zeropage(uint32_t slot, int level)
{
	return KIND(slot) == ZERO && level == UL_PTE;
}

static uint32_t protect_slot(struct ul_sim *sim, uint32_t slot, int level, uint64_t page)
{
	int found = level - DEPTH(slot);

	if (KIND(slot) == EMPTY)
		return protect_empty(sim, slot, level, page);
	count_visits(sim, slot, level);
	if (KIND(slot) != MARKER) {
		sim->ledger[is_zeropage(slot, found) ? UL_PROTECTED_ZERO : UL_PROTECTED_PTE + found] +=
			entries(level - found);
		/* A zeropage was read-only before: the processor's view of it does not change. */
		sim->flushing |= KIND(slot) == PAGE && !(slot & PROTECTED);
	}
	return slot | PROTECTED | OWED;
}

uint32_t unprotect_slot(struct ul_sim *sim, uint32_t slot, int level)
{
	int found = level - DEPTH(slot);
	uint64_t count = entries(level - found);

	count_visits(sim, slot, level);
	if (KIND(slot) == MARKER) {
		sim->ledger[UL_MARKERS_CLEARED] += count;
		return UNIFORM(EMPTY, DEPTH(slot));
	}
	if (KIND(slot) != EMPTY)
		sim->ledger[is_zeropage(slot, found) ? UL_RESOLVED_ZERO : UL_RESOLVED_PTE + found] += count;
	return slot & ~(PROTECTED | OWED);
}

/* Memory is given back; on shmem and hugetlb a protected entry leaves a marker behind. */
static uint32_t discard_slot(struct ul_sim *sim, uint32_t slot, int level)
{
	const struct ul_design *d = &sim->design;
	int depth = DEPTH(slot), found = level - depth;
	uint64_t count = entries(depth);
	enum kind kind = KIND(slot);

	count_locks(sim, slot, level);
	if (kind == ZERO || kind == PAGE) {
		sim->flushing = 1;
		sim->ledger[zapped(sim, slot, found)] += count;
		if (kind == PAGE) {
			sim->ledger[UL_PAGES_FREED] += count * pages_of(found);
			sim->pages -= count * pages_of(found);
		}
		if (found == UL_PMD && d->leaf == UL_PTE && d->deposit)
			free_pte_tables(sim, count);
	}
	if (d->survives && slot & PROTECTED) {
		sim->ledger[(kind == MARKER ? UL_VISITED_PTE : UL_MARKERS_PTE) + found] += count;
		return UNIFORM(MARKER | PROTECTED | (slot & OWED), depth);
	}
	if (kind == MARKER)
		sim->ledger[UL_ZAPPED_MARKERS] += count;
	if (d->pt_reclaim && found == UL_PTE && depth) {
		free_pte_tables(sim, entries(depth - 1));
		depth--;
	}
	return UNIFORM(EMPTY | (d->survives ? slot & OWED : 0), depth);
}

static uint32_t change(struct ul_sim *sim, enum operation op, uint32_t slot, int level, uint64_t page)
{
	switch (op) {
	case PROTECT:
		return protect_slot(sim, slot, level, page);
	case UNPROTECT:
		return unprotect_slot(sim, slot, level);
	default:
		return discard_slot(sim, slot, level);
	}
}

/* --- a slot that is cut ------------------------------------------------------------------------------------------- */

void split_huge(struct ul_sim *sim, enum kind kind, uint64_t count)
{
	sim->ledger[kind == ZERO ? UL_SPLIT_ZEROPAGES : UL_SPLIT_PAGES] += count;
	if (!sim->design.deposit)
		count_tables(sim, UL_PTE, count);
	sim->ledger[UL_FLUSHES] += count;
	sim->ledger[UL_IPIS] += count * (uint64_t)sim->other_cpus;
}

/* What the table below a marker holds once it has spread. */
static uint32_t spread(struct ul_sim *sim, uint32_t slot, int level, uint64_t page)
{
	int to = sim->design.spread == UL_SPREAD_LAST ? UL_PTE : level - 1;

	sim->ledger[UL_SPREAD_PMD + level - UL_PMD] += 1;
	make_tables(sim, page, level, level, to);
	sim->ledger[UL_MARKERS_PTE + to] += entries(level - to);
	return UNIFORM(slot & ENTRY, level - 1 - to);
}

/* Whether an operation on a part of the slot leaves it as it is. */
static int leaves_alone(const struct ul_sim *sim, enum operation op, uint32_t slot)
{
	const struct ul_design *d = &sim->design;

	if (DEPTH(slot))
		return 0;
	if (KIND(slot) == MARKER)
		return op == PROTECT || (op == DISCARD && d->survives);
	if (KIND(slot) != EMPTY)
		return 0;
	if (op == PROTECT)
		return d->empty == UL_EMPTY_STAYS && slot & OWED;
	return !(slot & OWED) || (op == DISCARD && d->survives);
}

/* Write a slot out so that a part of it can be changed. Returns the new slot. */
static uint32_t cut(struct ul_sim *sim, enum operation op, uint32_t slot, int level, uint64_t page)
{
	uint32_t child, flags = 0;

	if (DEPTH(slot)) {
		child = UNIFORM(slot & ENTRY, DEPTH(slot) - 1);
	} else if (KIND(slot) == MARKER) {
		child = spread(sim, slot, level, page);
	} else if (KIND(slot) == EMPTY) {
		child = slot & ENTRY;
		if (op == PROTECT && sim->design.empty != UL_EMPTY_STAYS)
			make_tables(sim, page, level, level, level - 1);
		else
			flags = BOOKS_ONLY;
	} else {
		split_huge(sim, KIND(slot), 1);
		child = slot & ENTRY;
	}
	return write_out(sim, level - 1, child) | flags;
}

/* --- the walk ----------------------------------------------------------------------------------------------------- */

static void walk_ptes(struct ul_sim *sim, enum operation op, uint8_t *entry, struct part part)
{
	for (uint64_t page = part.first; page < part.end; page++)
		entry[page % PTRS] = (uint8_t)(change(sim, op, entry[page % PTRS], UL_PTE, page) & ENTRY);
	sim->ledger[UL_LOCK_PTE] += 1;
}

static int walk_books(struct ul_sim *sim, enum operation op, uint32_t slot, int level, struct part part);

/* An empty entry of the kernel's of which our books tell pages apart: change what the part covers of it. */
static int walk_books_entry(struct ul_sim *sim, enum operation op, uint32_t *slot, int level, struct part part)
{
	uint32_t owed = op == PROTECT ? OWED : 0;

	if (op == DISCARD && sim->design.survives)
		return UL_OK;
	if (is_whole(part, level)) {
		drop(sim, level - 1, *slot);
		*slot = UNIFORM(EMPTY | owed, 0);
		return UL_OK;
	}
	if (!(*slot & WRITTEN_OUT)) {
		if ((*slot & OWED) == owed)
			return UL_OK;
		if (!has_room(sim))
			return UL_NO_ROOM;
		*slot = write_out(sim, level - 1, *slot & ENTRY) | BOOKS_ONLY;
	}
	return walk_books(sim, op, *slot, level, part);
}

static int walk_books(struct ul_sim *sim, enum operation op, uint32_t slot, int level, struct part part)
{
	uint32_t owed = op == PROTECT ? OWED : 0;
	uint64_t step = pages_of(level - 1);
	int error = UL_OK;

	for (uint64_t page = part.first / step * step; !error && page < part.end; page += step) {
		if (level == UL_PMD)
			pte_entries(sim, slot)[page % PTRS] = (uint8_t)(EMPTY | owed);
		else
			error = walk_books_entry(sim, op, &pmd_entries(sim, slot)[page / PMD_PAGES % PTRS], UL_PMD,
						 below(part, page, UL_PMD));
	}
	return error;
}

/* Make the kernel's table of one that was in the books only; those below stay there. */
static void make_real(struct ul_sim *sim, uint32_t *slot, int level, uint64_t page)
{
	make_tables(sim, page, level, level, level - 1);
	*slot &= ~BOOKS_ONLY;
}

static int all_empty(const uint8_t *entry)
{
	for (uint32_t i = 0; i < PTRS; i++)
		if (KIND(entry[i]) != EMPTY)
			return 0;
	return 1;
}

static int walk(struct ul_sim *sim, enum operation op, uint32_t *slot, int level, uint64_t page, struct part part)
{
	uint64_t step = pages_of(level - 1);
	int marks = op == PROTECT && sim->design.empty != UL_EMPTY_STAYS, error = UL_OK;

	if (*slot & BOOKS_ONLY) {
		if (!marks)
			return walk_books_entry(sim, op, slot, level, part);
		if (is_whole(part, level))
			walk_books_entry(sim, op, slot, level, part);
		else
			make_real(sim, slot, level, page);
	}
	if (!(*slot & WRITTEN_OUT)) {
		if (is_whole(part, level)) {
			*slot = change(sim, op, *slot, level, page);
			return UL_OK;
		}
		if (leaves_alone(sim, op, *slot)) {
			sim->ledger[UL_VISITED_PTE + level] += KIND(*slot) != EMPTY;
			return UL_OK;
		}
		if (!has_room(sim))
			return UL_NO_ROOM;
		*slot = cut(sim, op, *slot, level, page);
		if (*slot & BOOKS_ONLY)
			return walk_books(sim, op, *slot, level, part);
	}
	if (level == UL_PMD) {
		walk_ptes(sim, op, pte_entries(sim, *slot), part);
		if (op == DISCARD && sim->design.pt_reclaim && is_whole(part, UL_PMD) &&
		    all_empty(pte_entries(sim, *slot))) {
			free_pte_tables(sim, 1);
			/* On shmem what is owed outlives the table. */
			*slot |= BOOKS_ONLY;
			if (!sim->design.survives) {
				drop(sim, UL_PTE, *slot);
				*slot = EMPTY;
			}
		}
		return UL_OK;
	}
	for (uint64_t at = part.first / step * step; !error && at < part.end; at += step) {
		uint32_t *child = &pmd_entries(sim, *slot)[at / PMD_PAGES % PTRS];

		error = walk(sim, op, child, UL_PMD, at, below(part, at, UL_PMD));
	}
	return error;
}

int walk_range(struct ul_sim *sim, enum operation op, struct part part)
{
	uint64_t page = part.first / PUD_PAGES * PUD_PAGES;
	int error = UL_OK;

	sim->flushing = 0;
	for (; !error && page < part.end; page += PUD_PAGES)
		error = walk(sim, op, pud_entry(sim, page), UL_PUD, page, below(part, page, UL_PUD));
	/* Letting a write through again takes nothing away that another CPU could use. */
	if (!error && sim->flushing) {
		sim->ledger[UL_FLUSHES] += 1;
		sim->ledger[UL_IPIS] += (uint64_t)sim->other_cpus;
	}
	return error;
}

int aligned(const struct ul_sim *sim, uint64_t first, uint64_t count)
{
	uint64_t leaf = pages_of(sim->design.leaf);

	return in_range(sim, first, count) && !((sim->start + first) % leaf) && !(count % leaf);
}

static int32_t operate(struct ul_sim *sim, enum operation op, uint64_t first, uint64_t count)
{
	uint64_t page = sim->start + first;

	if (!aligned(sim, first, count))
		return UL_BAD;
	sim->ledger[op == DISCARD ? UL_LOCK_VMA : UL_LOCK_MMAP] += 1;
	sim->ledger[op == DISCARD ? UL_CALLS : op == PROTECT ? UL_PROTECTS : UL_RESOLVES] += 1;
	return walk_range(sim, op, (struct part){ page, page + count });
}

int32_t ul_protect(struct ul_sim *sim, uint64_t first, uint64_t count)
{
	if (aligned(sim, first, count))
		sim->armed = 1;
	return operate(sim, PROTECT, first, count);
}

int32_t ul_unprotect(struct ul_sim *sim, uint64_t first, uint64_t count)
{
	if (first == 0 && count == sim->end - sim->start)
		sim->armed = 0;
	return operate(sim, UNPROTECT, first, count);
}

int32_t ul_discard(struct ul_sim *sim, uint64_t first, uint64_t count)
{
	return operate(sim, DISCARD, first, count);
}
