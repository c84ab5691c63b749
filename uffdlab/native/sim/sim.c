/* SPDX-License-Identifier: MIT */
/*
 * Page tables of a range under a design, which a kernel need not have: their
 * contents, and the effect of touches. Operations on
 * whole ranges are in sim_range.c, what a touch counts in sim_shape.c.
 *
 * Freestanding, without floating point where it matters, with a generator of
 * its own: the same numbers in every process and every page.
 */
#include "sim_state.h"

#define EDGE_UNITS (64 * PATH_UNITS) /* ends of ranges that cut a table */

/* --- tables that are written out ---------------------------------------------------------------------------------- */

static uint32_t take_units(struct ul_sim *sim, int level)
{
	uint32_t number = sim->free[level];

	if (number) {
		sim->free[level] = *(uint32_t *)(void *)unit(sim, number);
		return number;
	}
	number = sim->used;
	sim->used += level == UL_PTE ? PTE_UNITS : PMD_UNITS;
	return number;
}

/* Write out a table whose entries, of this level, all hold `child`. The caller has seen that there is room. */
uint32_t write_out(struct ul_sim *sim, int level, uint32_t child)
{
	uint32_t slot = take_units(sim, level) | WRITTEN_OUT;

	if (level == UL_PTE) {
		uint8_t *entry = pte_entries(sim, slot);

		for (uint32_t i = 0; i < PTRS; i++)
			entry[i] = (uint8_t)(child & ENTRY);
	} else {
		uint32_t *entry = pmd_entries(sim, slot);

		for (uint32_t i = 0; i < PTRS; i++)
			entry[i] = child;
	}
	return slot;
}

/* Give a written-out table back, and what is written out below it. */
void drop(struct ul_sim *sim, int level, uint32_t slot)
{
	if (!(slot & WRITTEN_OUT))
		return;
	if (level == UL_PMD)
		for (uint32_t i = 0; i < PTRS; i++)
			drop(sim, UL_PTE, pmd_entries(sim, slot)[i]);
	*(uint32_t *)(void *)unit(sim, NUMBER(slot)) = sim->free[level];
	sim->free[level] = NUMBER(slot);
}

/* --- tables and pages of the kernel ------------------------------------------------------------------------------- */

static void grow(uint64_t *now, uint64_t *most, uint64_t count)
{
	*now += count;
	if (*now > *most)
		*most = *now;
}

void count_tables(struct ul_sim *sim, int level, uint64_t count)
{
	sim->ledger[UL_TABLES_PTE + level] += count;
	sim->ledger[level == UL_PTE ? UL_LOCK_PMD : UL_LOCK_PAGE_TABLE] += count;
	grow(&sim->tables, &sim->most_tables, count);
}

void free_pte_tables(struct ul_sim *sim, uint64_t count)
{
	sim->ledger[UL_FREED_PTE] += count;
	sim->tables -= count;
}

/* Note that the PUD table above a page is there; say whether it has to be made. */
int make_pud_table(struct ul_sim *sim, uint64_t page)
{
	uint64_t bit = 1ull << (page / PGD_PAGES - sim->start / PGD_PAGES);
	int absent = !(sim->pud_tables & bit);

	sim->pud_tables |= bit;
	return absent;
}

/* --- a range ------------------------------------------------------------------------------------------------------ */

static uint32_t puds_of(uint64_t start_page, uint64_t pages)
{
	return (uint32_t)((start_page + pages - 1) / PUD_PAGES - start_page / PUD_PAGES + 1);
}

uint64_t ul_sim_bytes(uint64_t start_page, uint64_t pages, uint64_t touches)
{
	uint64_t puds, pmds, units;

	if (ul_range_problem(&(struct ul_design){ .leaf = UL_PTE }, start_page, pages))
		return 0;
	puds = puds_of(start_page, pages);
	pmds = pages / PMD_PAGES + 2;
	units = 1 + EDGE_UNITS;
	touches = touches < MOST_PAGES ? 2 * touches : 2 * MOST_PAGES; /* an operation has two ends */
	units += (touches < pmds ? touches : pmds) * PTE_UNITS;
	units += (touches < puds ? touches : puds) * PMD_UNITS;
	return sizeof(struct ul_sim) + pud_bytes((uint32_t)puds) + units * UNIT_BYTES;
}

int32_t ul_sim_init(struct ul_sim *sim, uint64_t bytes, uint64_t start_page, uint64_t pages, int32_t other_cpus)
{
	uint64_t least = ul_sim_bytes(start_page, pages, 0), units;
	uint64_t last;

	if (!least || other_cpus < 0 || other_cpus > 1 << 16)
		return UL_BAD;
	if (bytes < least)
		return UL_NO_ROOM;
	sim->start = start_page;
	sim->end = start_page + pages;
	sim->other_cpus = other_cpus;
	sim->puds = puds_of(start_page, pages);
	units = (bytes - sizeof(*sim) - pud_bytes(sim->puds)) / UNIT_BYTES;
	sim->units = units < BOOKS_ONLY ? (uint32_t)units : BOOKS_ONLY - 1;
	sim->used = 1; /* number 0 stands for none */
	/* A process's libraries and stack lie above its mappings: the last PUD table is there. */
	last = (sim->end - 1) / PGD_PAGES - sim->start / PGD_PAGES;
	sim->pud_tables = 1ull << last;
	return UL_OK;
}

uint64_t ul_sim_used(const struct ul_sim *sim)
{
	return sizeof(*sim) + pud_bytes(sim->puds) + (uint64_t)sim->used * UNIT_BYTES;
}

int32_t ul_set_design(struct ul_sim *sim, const struct ul_design *design)
{
	if (ul_design_problem(design))
		return UL_BAD;
	/* What is mapped has deposited tables, or has not. */
	if (sim->design.deposit != design->deposit && (sim->tables || sim->pages))
		return UL_BAD;
	settle_ledger(sim);
	sim->design = *design;
	for (uint32_t i = 0; i < SHAPES; i++)
		sim->growth[i].known = 0;
	return UL_OK;
}

int in_range(const struct ul_sim *sim, uint64_t first, uint64_t count)
{
	return count && first < sim->end - sim->start && count <= sim->end - sim->start - first;
}

/*
 * Touches are counted by shape as they come, and what they count in all is
 * computed when it is read: there are few shapes, and many touches.
 */
void settle_ledger(struct ul_sim *sim)
{
	uint64_t one[UL_EVENTS];

	for (uint32_t code = 0; code < SHAPES; code++) {
		if (!sim->fresh[code])
			continue;
		ul_shape_ledger(&sim->design, sim->other_cpus, code, one);
		for (int i = 0; i < UL_EVENTS; i++)
			sim->ledger[i] += sim->fresh[code] * one[i];
		sim->fresh[code] = 0;
	}
}

void ul_ledger(struct ul_sim *sim, uint64_t *ledger)
{
	settle_ledger(sim);
	for (int i = 0; i < UL_EVENTS; i++)
		ledger[i] = sim->ledger[i];
}

void ul_ledger_reset(struct ul_sim *sim)
{
	for (int i = 0; i < UL_EVENTS; i++)
		sim->ledger[i] = 0;
	for (uint32_t i = 0; i < SHAPES; i++)
		sim->shapes[i] = sim->fresh[i] = 0;
}

void ul_shape_counts(const struct ul_sim *sim, uint64_t *counts)
{
	for (uint32_t i = 0; i < SHAPES; i++)
		counts[i] = sim->shapes[i];
}

void ul_memory(const struct ul_sim *sim, uint64_t *memory)
{
	memory[0] = sim->tables;
	memory[1] = sim->most_tables;
	memory[2] = sim->pages;
	memory[3] = sim->most_pages;
}

/* --- one touch ---------------------------------------------------------------------------------------------------- */

/* Where a page's entry is found: the slot that is written out above it, and the level its content begins at. */
struct place {
	uint32_t *pud, *pmd; /* the slots on the way; pmd is NULL where nothing is written out below pud */
	uint8_t *pte;	     /* NULL where nothing is written out below pmd */
	uint32_t entry;
	int level;
};

static struct place find(struct ul_sim *sim, uint64_t page)
{
	struct place at = { .pud = pud_entry(sim, page) };
	uint32_t slot = *at.pud;
	int level = UL_PUD, empty_at = -1;

	if (slot & WRITTEN_OUT) {
		if (slot & BOOKS_ONLY)
			empty_at = UL_PUD;
		at.pmd = &pmd_entries(sim, slot)[page / PMD_PAGES % PTRS];
		slot = *at.pmd;
		level = UL_PMD;
	}
	if (slot & WRITTEN_OUT) {
		if (slot & BOOKS_ONLY && empty_at < 0)
			empty_at = UL_PMD;
		at.pte = &pte_entries(sim, slot)[page % PTRS];
		slot = *at.pte;
		level = UL_PTE;
	}
	at.entry = slot & ENTRY;
	at.level = empty_at >= 0 ? empty_at : level == UL_PTE ? UL_PTE : level - DEPTH(slot);
	return at;
}

int32_t ul_state(const struct ul_sim *sim, uint64_t page)
{
	struct place at;

	if (!in_range(sim, page, 1))
		return UL_BAD;
	at = find((struct ul_sim *)sim, sim->start + page);
	return at.level << 8 | (int32_t)at.entry;
}

static int huge_fits(const struct ul_sim *sim, uint64_t page)
{
	uint64_t first = page / PMD_PAGES * PMD_PAGES;

	return first >= sim->start && first + PMD_PAGES <= sim->end;
}

/* The entry as the kernel sees it: a VMA that remembers protects what is empty. */
static uint32_t seen(const struct ul_sim *sim, uint32_t entry)
{
	if (KIND(entry) == EMPTY && sim->design.remembers && sim->armed)
		return entry | PROTECTED;
	return entry;
}

static void learn_growth(struct ul_sim *sim, uint32_t code)
{
	uint64_t l[UL_EVENTS], pages;

	ul_shape_ledger(&sim->design, sim->other_cpus, code, l);
	pages = l[UL_PAGES] + l[UL_HUGE_PAGES] * PMD_PAGES + l[UL_GIGANTIC_PAGES] * PUD_PAGES;
	sim->growth[code].tables = (uint32_t)(l[UL_TABLES_PTE] + l[UL_TABLES_PMD] + l[UL_TABLES_PUD]);
	sim->growth[code].pages = (uint32_t)pages;
	sim->growth[code].known = 1;
}

static void add_touches(struct ul_sim *sim, struct shape shape, uint64_t count)
{
	uint32_t code = shape_code(shape);

	if (!sim->growth[code].known)
		learn_growth(sim, code);
	sim->shapes[code] += count;
	sim->fresh[code] += count;
	grow(&sim->tables, &sim->most_tables, count * sim->growth[code].tables);
	grow(&sim->pages, &sim->most_pages, count * sim->growth[code].pages);
}

/* A table that is in the books only takes the place of a table, or goes. */
static void settle(struct ul_sim *sim, struct place *at, int level, int to)
{
	uint32_t *slot = level == UL_PUD ? at->pud : at->pmd;

	if (!slot || !(*slot & BOOKS_ONLY))
		return;
	if (to < level) {
		*slot &= ~BOOKS_ONLY;
		return;
	}
	drop(sim, level - 1, *slot);
	*slot = at->entry;
	at->pte = NULL;
	if (level == UL_PUD)
		at->pmd = NULL;
}

/* What the tables hold that a touch has the kernel fill between the entry it found and the page. */
static uint32_t beneath(const struct ul_sim *sim, const struct place *at, int level)
{
	int last = KIND(at->entry) == MARKER && sim->design.spread == UL_SPREAD_LAST;

	if (level < at->level)
		return UNIFORM(at->entry, last ? level : 0);
	return UNIFORM(at->entry, level - at->level);
}

static void put(struct ul_sim *sim, struct place *at, uint64_t page, int to, uint32_t next)
{
	settle(sim, at, UL_PUD, to);
	settle(sim, at, UL_PMD, to);
	if (to == UL_PUD) {
		*at->pud = next;
		return;
	}
	if (!at->pmd) {
		*at->pud = write_out(sim, UL_PMD, beneath(sim, at, UL_PMD));
		at->pmd = &pmd_entries(sim, *at->pud)[page / PMD_PAGES % PTRS];
	}
	if (to == UL_PMD) {
		*at->pmd = next;
		return;
	}
	if (!at->pte) {
		*at->pmd = write_out(sim, UL_PTE, beneath(sim, at, UL_PTE));
		at->pte = &pte_entries(sim, *at->pmd)[page % PTRS];
	}
	*at->pte = (uint8_t)next;
}

int touch(struct ul_sim *sim, uint64_t page, int write)
{
	struct place at = find(sim, page);
	uint32_t entry = seen(sim, at.entry);
	struct outcome o = decide(&sim->design, entry, at.level, write, huge_fits(sim, page));
	struct shape shape = { .write = write, .entry = entry, .from = at.level, .to = o.to };

	if (!o.hit) {
		if (!has_room(sim))
			return UL_NO_ROOM;
		if (at.level == UL_PUD)
			shape.pud = make_pud_table(sim, page);
		put(sim, &at, page, o.to, o.next);
	}
	add_touches(sim, shape, 1);
	return UL_OK;
}

int32_t ul_touch(struct ul_sim *sim, uint64_t page, int32_t write)
{
	return in_range(sim, page, 1) ? touch(sim, sim->start + page, !!write) : UL_BAD;
}

/* --- touching every page of a part -------------------------------------------------------------------------------- */

/*
 * Touch each page below a slot that is the same all the way down. The first
 * touch finds the entry itself and makes tables; the first one under each of
 * those finds it one level lower; and so on.
 */
static void touch_uniform(struct ul_sim *sim, uint32_t *slot, int level, uint64_t page, int write)
{
	int found = level - DEPTH(*slot);
	uint32_t entry = seen(sim, *slot & ENTRY);
	struct outcome o = decide(&sim->design, entry, found, write, 1);
	struct shape shape = { .write = write, .entry = entry, .to = o.to };
	int last = KIND(entry) == MARKER && sim->design.spread == UL_SPREAD_LAST;
	uint64_t pages = entries(level - sim->design.leaf);
	uint64_t above = 0; /* touches that found the entry further up */

	if (o.hit) {
		shape.from = found;
		add_touches(sim, shape, pages);
		return;
	}
	for (int from = found; from >= o.to; from--) {
		uint64_t touches;

		if (last && from < found && from > o.to)
			continue;
		touches = entries(level - from) - above;
		above += touches;
		shape.from = from;
		if (from == UL_PUD && make_pud_table(sim, page)) {
			shape.pud = 1;
			add_touches(sim, shape, 1);
			shape.pud = 0;
			touches--;
		}
		add_touches(sim, shape, touches);
	}
	/* Of a huge page of THP, which a program cannot see, the other 4 KiB are touched too. */
	shape = (struct shape){ .write = write, .entry = o.next, .from = o.to, .to = o.to };
	add_touches(sim, shape, pages - above);
	*slot = UNIFORM(o.next, level - o.to);
}

/* The largest slot that begins at a page, ends before `end`, and is the same all the way down; NULL for a PTE. */
static uint32_t *uniform_slot(struct ul_sim *sim, uint64_t page, uint64_t end, int *level)
{
	uint32_t *slot = pud_entry(sim, page);

	*level = UL_PUD;
	if (*slot & WRITTEN_OUT) {
		if (*slot & BOOKS_ONLY)
			return NULL;
		slot = &pmd_entries(sim, *slot)[page / PMD_PAGES % PTRS];
		*level = UL_PMD;
	}
	if (*slot & WRITTEN_OUT || page % pages_of(*level) || page + pages_of(*level) > end)
		return NULL;
	return slot;
}

int touch_range(struct ul_sim *sim, uint64_t page, uint64_t end, int write)
{
	int error = UL_OK;

	while (!error && page < end) {
		int level;
		uint32_t *slot = uniform_slot(sim, page, end, &level);

		if (slot)
			touch_uniform(sim, slot, level, page, write);
		else
			error = touch(sim, page, write);
		page += pages_of(slot ? level : sim->design.leaf);
	}
	return error;
}

int32_t ul_touch_range(struct ul_sim *sim, uint64_t first, uint64_t count, int32_t write)
{
	if (!in_range(sim, first, count))
		return UL_BAD;
	return touch_range(sim, sim->start + first, sim->start + first + count, !!write);
}
