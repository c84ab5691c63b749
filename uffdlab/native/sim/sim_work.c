/* SPDX-License-Identifier: MIT */
/* Populating a range, pre-faulting it, and patterns of touches. */
#include "sim_state.h"

/* --- numbers without a library ------------------------------------------------------------------------------------ */

/* SplitMix64 (Steele, Lea, Flood 2014): the same sequence everywhere. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* A number below n, n up to 2^32. */
static uint64_t below_n(uint64_t *state, uint64_t n)
{
	return (next(state) >> 32) * n >> 32;
}

/* A rank below n with a chance that falls like 1 / rank: an octave of ranks, each as likely, then one of it. */
static uint64_t zipf(uint64_t *state, uint64_t n)
{
	uint64_t octaves = 0, rank;

	while (octaves < 33 && 1ull << octaves <= n)
		octaves++;
	do {
		uint64_t octave = below_n(state, octaves);

		rank = (1ull << octave) - 1 + below_n(state, 1ull << octave);
	} while (rank >= n);
	return rank;
}

/* Spread ranks over the range: neighbours in rank lie far apart. */
static uint64_t scattered(uint64_t rank, uint64_t n)
{
	const uint64_t prime = 2654435761ull;

	return n % prime ? rank * prime % n : rank;
}

/* --- populating --------------------------------------------------------------------------------------------------- */

/* Which clusters are written: each with a chance, so many of all, or those of a bitmap. */
struct choice {
	uint64_t cluster, clusters;
	double fraction;
	uint64_t wanted, state;
	const uint8_t *bits;
};

static int is_chosen(struct choice *c, uint64_t number)
{
	if (c->bits)
		return c->bits[number / 8] >> number % 8 & 1;
	if (c->fraction >= 0)
		return (double)(next(&c->state) >> 11) * 0x1p-53 < c->fraction;
	/* Selection sampling (Knuth, Algorithm S): with the chance that what is still wanted gives it. */
	if (below_n(&c->state, c->clusters - number) >= c->wanted)
		return 0;
	c->wanted--;
	return 1;
}

static int write_chosen(struct ul_sim *sim, struct choice *c)
{
	int error = UL_OK;

	for (uint64_t number = 0; !error && number < c->clusters; number++) {
		uint64_t first = sim->start + number * c->cluster, end = first + c->cluster;

		if (is_chosen(c, number))
			error = touch_range(sim, first, end < sim->end ? end : sim->end, 1);
	}
	return error;
}

/* Memory is populated before it is registered: no event for missing pages. */
static int32_t populate(struct ul_sim *sim, struct choice *c)
{
	struct ul_design registered = sim->design, plain = registered;
	int error;

	plain.missing = 0;
	ul_set_design(sim, &plain);
	if (!c->bits && (c->fraction == 1 || c->wanted == c->clusters))
		error = touch_range(sim, sim->start, sim->end, 1);
	else
		error = write_chosen(sim, c);
	ul_set_design(sim, &registered);
	return error;
}

static int prepare_choice(const struct ul_sim *sim, struct choice *c)
{
	uint64_t pages = sim->end - sim->start;

	if (!c->cluster || c->cluster > pages)
		return 0;
	c->clusters = (pages + c->cluster - 1) / c->cluster;
	return 1;
}

int32_t ul_populate(struct ul_sim *sim, double fraction, uint64_t cluster, uint64_t seed)
{
	struct choice c = { .cluster = cluster, .fraction = fraction, .state = seed, .wanted = ~0ull };

	if (!(fraction >= 0 && fraction <= 1) || !prepare_choice(sim, &c))
		return UL_BAD;
	return fraction == 0 ? UL_OK : populate(sim, &c);
}

int32_t ul_populate_exactly(struct ul_sim *sim, uint64_t clusters, uint64_t cluster, uint64_t seed)
{
	struct choice c = { .cluster = cluster, .fraction = -1, .wanted = clusters, .state = seed };

	if (!prepare_choice(sim, &c) || clusters > c.clusters)
		return UL_BAD;
	return populate(sim, &c);
}

int32_t ul_populate_bits(struct ul_sim *sim, const uint8_t *bits, uint64_t count, uint64_t pages_per_bit)
{
	struct choice c = { .cluster = pages_per_bit, .fraction = -1, .bits = bits };

	if (!prepare_choice(sim, &c) || count != c.clusters)
		return UL_BAD;
	return populate(sim, &c);
}

/* --- pre-faulting ------------------------------------------------------------------------------------------------- */

/* Populating by a system call faults like reading does, without the processor's exceptions. */
static int populate_read(struct ul_sim *sim, uint64_t page, uint64_t end)
{
	uint64_t traps, reads, vma_locks, shapes[SHAPES];
	int error;

	settle_ledger(sim);
	traps = sim->ledger[UL_TRAPS];
	reads = sim->ledger[UL_READS];
	vma_locks = sim->ledger[UL_LOCK_VMA];
	for (uint32_t i = 0; i < SHAPES; i++)
		shapes[i] = sim->shapes[i];
	error = touch_range(sim, page, end, 0);
	settle_ledger(sim);
	for (uint32_t i = 0; i < SHAPES; i++)
		sim->shapes[i] = shapes[i];
	sim->ledger[UL_POPULATED] += count_entries(sim, (struct part){ page, end });
	sim->ledger[UL_TRAPS] = traps;
	sim->ledger[UL_READS] = reads;
	sim->ledger[UL_LOCK_VMA] = vma_locks;
	sim->ledger[UL_LOCK_MMAP] += 1;
	sim->ledger[UL_CALLS] += 1;
	return error;
}

int32_t ul_prefault(struct ul_sim *sim, uint64_t first, uint64_t count)
{
	uint64_t page = sim->start + first;

	if (!in_range(sim, first, count))
		return UL_BAD;
	switch (sim->design.prefault) {
	case UL_READ_LOOP:
		return touch_range(sim, page, page + count, 0);
	case UL_POPULATE_READ:
		return populate_read(sim, page, page + count);
	default:
		return UL_OK;
	}
}

/* --- touching ----------------------------------------------------------------------------------------------------- */

int32_t ul_touch_stride(struct ul_sim *sim, uint64_t stride, int32_t write)
{
	int error = UL_OK;

	if (!stride)
		return UL_BAD;
	if (stride == pages_of(sim->design.leaf))
		return touch_range(sim, sim->start, sim->end, !!write);
	for (uint64_t left = sim->end - sim->start; !error && left; left -= stride < left ? stride : left)
		error = touch(sim, sim->end - left, !!write);
	return error;
}

int32_t ul_touch_many(struct ul_sim *sim, int32_t walk, uint64_t count, uint64_t cluster, uint64_t seed, int32_t write)
{
	uint64_t pages = sim->end - sim->start, state = seed, at = 0;
	int error = UL_OK;

	if (walk < UL_SEQUENTIAL || walk > UL_CLUSTERED || !cluster || cluster > pages)
		return UL_BAD;
	for (uint64_t i = 0; !error && i < count; i++) {
		if (walk == UL_UNIFORM)
			at = below_n(&state, pages);
		else if (walk == UL_ZIPF)
			at = scattered(zipf(&state, pages), pages);
		else if (walk == UL_CLUSTERED && i % cluster == 0)
			at = below_n(&state, pages / cluster) * cluster;
		error = touch(sim, sim->start + at, !!write);
		if (walk != UL_UNIFORM && walk != UL_ZIPF)
			at = at + 1 < pages ? at + 1 : 0;
	}
	return error;
}
