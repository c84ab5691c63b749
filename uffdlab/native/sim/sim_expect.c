/* SPDX-License-Identifier: MIT */
/*
 * Expected ledgers of random work, in closed form: no state, a few hundred
 * multiplications, whatever the span.
 *
 * Each cluster of pages was written beforehand with one probability; then the
 * range is protected; then come reads, then writes, each to a page drawn
 * uniformly. Entries fall into a few classes that behave alike, and of a class
 * only two numbers matter: how many entries there are, and how many distinct
 * ones so many touches reach, n * (1 - (1 - p)^touches).
 */
#include "sim_shape.h"

#define PMD_PAGES 512.0
#define PUD_PMDS 512.0

struct class {
	double count;
	uint32_t entry;
	int level;
	double pmds; /* 2 MiB in one entry of the PUD level: 512, or fewer at the end of a range */
};

#define CLASSES 4

struct expect {
	const struct ul_design *d;
	const struct ul_random *work;
	double pages; /* of the range */
	double *protect, *touches, *shapes;
	double *ledger; /* of the phase that is counted */
	double pte_tables; /* that are there, deposits not among them */
	int quiet;	   /* touches by a system call: no traps, no shapes */
};

static double power(double x, double n)
{
	double result = 1;

	for (uint64_t k = n < 0x1p62 ? (uint64_t)n : 1ull << 62; k; k >>= 1) {
		if (k & 1)
			result *= x;
		x *= x;
	}
	return result;
}

static double unit_pages(const struct class *c, int level)
{
	return level == UL_PTE ? 1 : level == UL_PMD ? PMD_PAGES : c->pmds * PMD_PAGES;
}

/* How many entries of a level lie in one entry of a class. */
static double units(const struct class *c, int level)
{
	return level > c->level ? 0 : unit_pages(c, c->level) / unit_pages(c, level);
}

/* Of the entries of a level in a class: how many of them so many uniform touches reach. */
static double reached(const struct expect *e, const struct class *c, int level, double touches)
{
	double p = unit_pages(c, level) / e->pages;

	return c->count * units(c, level) * (1 - power(p < 1 ? 1 - p : 0, touches));
}

static void add(struct expect *e, struct shape shape, double count)
{
	uint64_t one[UL_EVENTS];
	uint32_t code = shape_code(shape);

	if (!(count > 0))
		return;
	ul_shape_ledger(e->d, e->work->other_cpus, code, one);
	if (e->quiet)
		one[UL_READS] = one[UL_TRAPS] = one[UL_LOCK_VMA] = 0;
	else
		e->shapes[code] += count;
	for (int i = 0; i < UL_EVENTS; i++)
		e->ledger[i] += count * (double)one[i];
}

/* --- protecting --------------------------------------------------------------------------------------------------- */

/* Read every page of a class. */
static void prefault(struct expect *e, struct class *c)
{
	struct outcome o = decide(e->d, c->entry, c->level, 0, 1);
	struct shape shape = { .entry = c->entry, .to = o.to };
	double pages = c->count * unit_pages(c, c->level), above = 0;

	for (int from = c->level; !o.hit && from >= o.to; from--) {
		shape.from = from;
		add(e, shape, c->count * units(c, from) - above);
		above = c->count * units(c, from);
	}
	/* One byte of each page; of a huge page of THP, which a program cannot see, one of each 4 KiB. */
	shape = (struct shape){ .entry = o.next, .from = o.to, .to = o.to };
	add(e, shape, pages / (double)entries(e->d->leaf) - above);
	if (o.hit)
		return;
	if (o.to == UL_PTE && c->level > UL_PTE)
		e->pte_tables += c->count * units(c, UL_PMD);
	c->count *= units(c, o.to);
	c->entry = o.next;
	c->level = o.to;
}

static void count_tables(struct expect *e, int level, double count)
{
	e->ledger[UL_TABLES_PTE + level] += count;
	e->ledger[level == UL_PTE ? UL_LOCK_PMD : UL_LOCK_PAGE_TABLE] += count;
}

static void make_tables(struct expect *e, const struct class *c, int to)
{
	for (int table = c->level - 1; table >= to; table--)
		count_tables(e, table, c->count * units(c, table + 1));
}

static void protect_empty(struct expect *e, struct class *c)
{
	const struct ul_design *d = e->d;
	int to = c->level < d->level ? c->level : d->level;

	if (d->empty == UL_EMPTY_STAYS) {
		if (c->level == UL_PTE) {
			e->ledger[UL_VISITED_PTE] += c->count;
			e->ledger[UL_ASKED_PTE] += c->count;
		}
		c->entry |= d->remembers ? OWED | PROTECTED : OWED;
		return;
	}
	if (d->empty == UL_EMPTY_ZEROPAGE && to < UL_PMD)
		to = UL_PTE;
	make_tables(e, c, to);
	if (to == UL_PTE)
		e->ledger[UL_LOCK_PTE] += c->level > UL_PTE ? c->count * units(c, UL_PMD) : 0;
	c->count *= units(c, to);
	c->level = to;
	e->ledger[UL_VISITED_PTE + to] += c->count;
	if (to == UL_PTE)
		e->ledger[UL_ASKED_PTE] += c->count;
	c->entry = PROTECTED | OWED | (d->empty == UL_EMPTY_MARKED ? MARKER : ZERO);
	if (d->empty == UL_EMPTY_MARKED) {
		e->ledger[UL_MARKERS_PTE + to] += c->count;
		return;
	}
	e->ledger[to == UL_PMD ? UL_FILLED_HUGE_ZERO : UL_FILLED_ZERO] += c->count;
	if (to == UL_PMD && d->deposit) {
		count_tables(e, UL_PTE, c->count);
		e->ledger[UL_DEPOSITS] += c->count;
	}
}

/* The end of the range cuts an entry of the PUD level: what would go into it goes into a PMD table. */
static void cut(struct expect *e, struct class *c)
{
	if (c->level != UL_PUD || c->pmds == PUD_PMDS || e->d->empty == UL_EMPTY_STAYS)
		return;
	make_tables(e, c, UL_PMD);
	c->count *= units(c, UL_PMD);
	c->level = UL_PMD;
}

static void protect(struct expect *e, struct class *c)
{
	if (KIND(c->entry) == EMPTY) {
		cut(e, c);
		protect_empty(e, c);
		return;
	}
	e->ledger[UL_VISITED_PTE + c->level] += c->count;
	if (c->level == UL_PMD)
		e->ledger[UL_LOCK_PMD] += c->count;
	if (KIND(c->entry) == ZERO && c->level == UL_PTE)
		e->ledger[UL_PROTECTED_ZERO] += c->count;
	else
		e->ledger[UL_PROTECTED_PTE + c->level] += c->count;
	c->entry |= PROTECTED | OWED;
}

/* --- touching ----------------------------------------------------------------------------------------------------- */

/* First touches below entries of a class that hold nothing, or a marker: between `before` and `after` touches in all. */
static void touch_absent(struct expect *e, const struct class *c, int write, double before, double after)
{
	struct outcome o = decide(e->d, c->entry, c->level, write, 1);
	struct shape shape = { .write = write, .entry = c->entry, .to = o.to };
	int last = KIND(c->entry) == MARKER && e->d->spread == UL_SPREAD_LAST;
	double above = 0;

	for (int from = c->level; from >= o.to; from--) {
		double fresh = reached(e, c, from, after) - reached(e, c, from, before);

		if (last && from < c->level && from > o.to)
			continue;
		shape.from = from;
		add(e, shape, fresh - above);
		above = fresh;
	}
}

/* Writes to entries that map something. */
static void write_present(struct expect *e, const struct class *c, double writes)
{
	struct outcome o = decide(e->d, c->entry, c->level, 1, 1);
	struct shape shape = { .write = 1, .entry = c->entry, .from = c->level, .to = o.to };
	double first = reached(e, c, c->level, writes);

	if (o.hit)
		return;
	add(e, shape, first);
	if (o.to == c->level)
		return;
	shape.from = o.to;
	add(e, shape, reached(e, c, o.to, writes) - first);
}

static void touch(struct expect *e, const struct class *c)
{
	double reads = e->work->reads, writes = e->work->writes;
	struct class read = *c;
	struct outcome o;

	if (KIND(c->entry) != EMPTY && KIND(c->entry) != MARKER) {
		write_present(e, c, writes);
		return;
	}
	touch_absent(e, c, 0, 0, reads);
	touch_absent(e, c, 1, reads, reads + writes);
	o = decide(e->d, c->entry, c->level, 0, 1);
	read.count = reached(e, c, o.to, reads);
	read.entry = o.next;
	read.level = o.to;
	write_present(e, &read, writes);
}

/* Touches that found what they needed. */
static void add_hits(struct expect *e, int write, double all)
{
	struct shape shape = { .write = write, .entry = PAGE, .from = e->d->leaf, .to = e->d->leaf };

	add(e, shape, all - e->ledger[write ? UL_WRITES : UL_READS]);
}

/* --- a range ------------------------------------------------------------------------------------------------------ */

/* How many clusters a part of so many pages has a share in: it begins where one begins, or within one. */
static double clusters_in(double pages, const struct ul_random *work)
{
	return (double)(((uint64_t)pages + work->cluster - 1) / work->cluster);
}

/* The classes of so many entries of the PUD level, of so many 2 MiB each, and the tables they have. */
static void classify(struct expect *e, struct class *c, double puds, double pmds, double *memory)
{
	const struct ul_design *d = e->d;
	double none = 1 - e->work->populated;
	double pmd_empty = power(none, clusters_in(PMD_PAGES, e->work));
	double pud_empty = power(none, clusters_in(pmds * PMD_PAGES, e->work));
	double used = puds * pmds * (1 - pmd_empty); /* 2 MiB with something in them */
	double written = puds * pmds * PMD_PAGES * e->work->populated;
	int huge = d->leaf == UL_PMD || (d->leaf == UL_PTE && d->thp);

	for (int i = 0; i < CLASSES; i++)
		c[i] = (struct class){ .pmds = pmds };
	c[0].level = UL_PUD;
	c[0].count = puds * pud_empty;
	if (d->leaf == UL_PUD) {
		c[1] = (struct class){ puds * (1 - pud_empty), PAGE, UL_PUD, pmds };
		memory[1] += c[1].count * pmds * PMD_PAGES;
		return;
	}
	c[1].level = UL_PMD;
	c[1].count = puds * pmds * (pmd_empty - pud_empty);
	c[2] = (struct class){ huge ? 0 : used * PMD_PAGES - written, EMPTY, UL_PTE, pmds };
	c[3] = (struct class){ huge ? used : written, PAGE, huge ? UL_PMD : UL_PTE, pmds };
	e->pte_tables += huge ? 0 : used;
	memory[0] += puds * (1 - pud_empty) + (d->leaf == UL_PTE && (!huge || d->deposit) ? used : 0);
	memory[1] += huge ? used * PMD_PAGES : written;
}

static double tables_in(const double *l)
{
	return l[UL_TABLES_PTE] + l[UL_TABLES_PMD] + l[UL_TABLES_PUD];
}

static double pages_in(const double *l)
{
	return l[UL_PAGES] + l[UL_HUGE_PAGES] * PMD_PAGES + l[UL_GIGANTIC_PAGES] * PMD_PAGES * PUD_PMDS;
}

/* PUD tables: all but the last, which is there, come with the first thing below them. */
static void pud_tables(struct expect *e, double *memory)
{
	const struct ul_design *d = e->d;
	double below = (double)(1ull << 27), touched = e->work->reads + e->work->writes;
	double absent = (double)(((uint64_t)e->pages - 1) >> 27);
	double populated = absent * (1 - power(1 - e->work->populated, clusters_in(below, e->work)));
	int now = d->empty != UL_EMPTY_STAYS || d->prefault != UL_NO_PREFAULT;

	if (absent == 0)
		return;
	memory[0] += populated;
	absent -= populated;
	if (!now)
		absent *= 1 - power(1 - below / e->pages, touched);
	e->ledger = now ? e->protect : e->touches;
	count_tables(e, UL_PUD, absent);
}

/*
 * memory: tables, then pages of 4 KiB, that are there before protecting, after
 * it, and after the touches. The range begins on a multiple of 512 GiB.
 */
int32_t ul_expect(const struct ul_design *d, uint64_t pages, const struct ul_random *work, double *protect_ledger,
		  double *touch_ledger, double *shapes, double *memory)
{
	struct expect e = { .d = d, .work = work, .pages = (double)pages, .protect = protect_ledger,
			    .touches = touch_ledger, .shapes = shapes };
	double puds[2] = { (double)(pages >> 18), (pages & 0x3ffff) != 0 };
	double pmds[2] = { PUD_PMDS, (double)((pages & 0x3ffff) >> 9) };
	double there;

	if (ul_design_problem(d) || ul_work_problem(d, pages, work))
		return UL_BAD;
	for (int i = 0; i < UL_EVENTS; i++)
		protect_ledger[i] = touch_ledger[i] = 0;
	for (uint32_t i = 0; i < SHAPES; i++)
		shapes[i] = 0;
	for (int i = 0; i < 6; i++)
		memory[i] = 0;
	for (int kind = 0; kind < 2; kind++) {
		struct class classes[CLASSES];

		if (puds[kind] == 0)
			continue;
		e.pte_tables = 0;
		e.ledger = protect_ledger;
		classify(&e, classes, puds[kind], pmds[kind], memory);
		e.quiet = d->prefault == UL_POPULATE_READ;
		for (int i = 0; i < CLASSES && d->prefault != UL_NO_PREFAULT; i++)
			prefault(&e, &classes[i]);
		e.quiet = 0;
		for (int i = 0; i < CLASSES && d->prefault == UL_POPULATE_READ; i++)
			protect_ledger[UL_POPULATED] += classes[i].count;
		protect_ledger[UL_LOCK_PTE] += e.pte_tables;
		for (int i = 0; i < CLASSES; i++)
			protect(&e, &classes[i]);
		e.ledger = touch_ledger;
		for (int i = 0; i < CLASSES; i++)
			touch(&e, &classes[i]);
	}
	if (d->prefault == UL_POPULATE_READ) {
		protect_ledger[UL_CALLS] += 1;
		protect_ledger[UL_LOCK_MMAP] += 1;
	}
	protect_ledger[UL_PROTECTS] += 1;
	protect_ledger[UL_LOCK_MMAP] += 1;
	/* One flush if a page was there, or was read in for want of a zeropage. */
	there = 1 - power(1 - work->populated, clusters_in((double)pages, work));
	if (d->prefault != UL_NO_PREFAULT && !mapping_zeropage(d, d->thp ? UL_PMD : UL_PTE))
		there = 1;
	protect_ledger[UL_FLUSHES] += there;
	protect_ledger[UL_IPIS] += there * work->other_cpus;
	pud_tables(&e, memory);
	e.ledger = touch_ledger;
	add_hits(&e, 0, work->reads);
	add_hits(&e, 1, work->writes);
	memory[2] = memory[0] + tables_in(protect_ledger);
	memory[3] = memory[1] + pages_in(protect_ledger);
	memory[4] = memory[2] + tables_in(touch_ledger);
	memory[5] = memory[3] + pages_in(touch_ledger);
	return UL_OK;
}

int32_t ul_sweep(const struct ul_design *d, uint64_t pages, const struct ul_random *works, uint64_t count,
		 const double *costs, uint64_t vectors, double *priced)
{
	double protect_ledger[UL_EVENTS], touch_ledger[UL_EVENTS], shapes[SHAPES], memory[6];

	for (uint64_t i = 0; i < count; i++) {
		int32_t error = ul_expect(d, pages, &works[i], protect_ledger, touch_ledger, shapes, memory);

		if (error)
			return error;
		*priced++ = memory[4] - memory[0];
		*priced++ = memory[5] - memory[1];
		for (uint64_t v = 0; v < vectors; v++) {
			*priced++ = ul_price(protect_ledger, costs + v * UL_EVENTS);
			*priced++ = ul_price(touch_ledger, costs + v * UL_EVENTS);
		}
	}
	return UL_OK;
}
