/* SPDX-License-Identifier: MIT */
/*
 * Flush+reload between two processes of our own that share only pages which the
 * kernel maps in both, such as the zeropage. The sender loads the cache lines
 * of its 1 bits; the receiver, which has flushed them, times a load of each.
 * Time is cut into slots by the processors' common time stamp counter: the sender
 * loads until the receiver's turn, which reloads and flushes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "probe.h"

#define CYCLES_MOST 65535u

#if defined(__x86_64__)

/* The fences keep the load between both readings of the counter, and everything else outside. */
UL_RAW static inline uint32_t timed_load(uint64_t addr)
{
	uint32_t low, high, low_after, high_after;
	uint64_t took;
	char value;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	__asm__ volatile("lfence; movb (%1), %0; lfence" : "=q"(value) : "r"(addr) : "memory");
	__asm__ volatile("rdtsc; lfence" : "=a"(low_after), "=d"(high_after) : : "memory");
	took = (((uint64_t)high_after << 32) | low_after) - (((uint64_t)high << 32) | low);
	return took < CYCLES_MOST ? (uint32_t)took : CYCLES_MOST;
}

static inline void flush(uint64_t addr)
{
	__asm__ volatile("clflush (%0)" : : "r"(addr) : "memory");
}

static inline void flushed(void)
{
	__asm__ volatile("mfence" : : : "memory");
}

static inline void relax(void)
{
	__asm__ volatile("pause");
}

int ul_channel_supported(void)
{
	return 0;
}

#else

/* Elsewhere user space may not flush, or its counter is too coarse to tell cache from memory. */
static inline uint32_t timed_load(uint64_t addr)
{
	(void)addr;
	return 0;
}

static inline void flush(uint64_t addr)
{
	(void)addr;
}

static inline void flushed(void)
{
}

static inline void relax(void)
{
}

int ul_channel_supported(void)
{
	return -EOPNOTSUPP;
}

#endif

/* Each line is visited once, and with an advance the range has a page for every load. */
static int valid(const struct ul_channel *c, uint64_t loads)
{
	uint8_t visited[UL_CHANNEL_LINES] = {0};

	if (c->lines < 1 || c->lines > UL_CHANNEL_LINES || !c->step || !c->slot || c->turn > c->slot || ul_channel_supported())
		return 0;
	for (uint32_t i = 0; i < c->lines; i++) {
		if (c->order[i] >= c->lines || visited[c->order[i]])
			return 0;
		visited[c->order[i]] = 1;
	}
	return !c->advance || c->loads + loads <= c->room;
}

/* In an order without a constant stride, which a prefetcher would follow. */
static inline uint32_t line_of(const struct ul_channel *c, uint32_t i)
{
	return c->order[i];
}

/* Where a line is flushed: memory that was read before, without the advance. */
static inline uint64_t flushed_at(const struct ul_channel *c, uint32_t line)
{
	return c->addr + line * c->step;
}

/* Where a line is loaded: with an advance, from a page not loaded before. */
static inline uint64_t loaded_at(struct ul_channel *c, uint32_t line)
{
	return c->addr + ++c->loads * c->advance + line * c->step;
}

static void wait_until(const struct ul_channel *c, uint64_t cycles)
{
	while (ul_cycles() < cycles) {
		if (c->yield_)
			sched_yield();
		else
			relax();
	}
}

/* What a load of each line takes right after another load, and right after a flush: rounds * lines of both. */
int ul_channel_calibrate(struct ul_channel *c, uint32_t rounds, uint16_t *hits, uint16_t *misses)
{
	if (!valid(c, 2 * (uint64_t)rounds * c->lines))
		return -EINVAL;
	for (uint32_t r = 0; r < rounds; r++) {
		for (uint32_t i = 0; i < c->lines; i++) {
			uint32_t line = line_of(c, i);

			flush(flushed_at(c, line));
			flushed();
			misses[r * c->lines + line] = (uint16_t)timed_load(loaded_at(c, line));
			hits[r * c->lines + line] = (uint16_t)timed_load(loaded_at(c, line));
		}
	}
	return 0;
}

/* All lines are loaded before any is flushed: flushes overlap, and no load waits for one. */
UL_RAW static inline void reload(struct ul_channel *c, uint16_t *cycles)
{
	for (uint32_t i = 0; i < c->lines; i++) {
		uint32_t line = line_of(c, i);

		cycles[line] = (uint16_t)timed_load(loaded_at(c, line));
	}
	for (uint32_t i = 0; i < c->lines; i++)
		flush(flushed_at(c, i));
	flushed();
}

/*
 * What a reload and flush of all lines takes, at the pace of slots: cycles by round. there: none of the lines is (0),
 * or every other one (1).
 */
int ul_channel_probe_cycles(struct ul_channel *c, uint32_t rounds, int there, uint64_t *cycles)
{
	uint16_t unused[UL_CHANNEL_LINES];
	uint64_t begin = ul_cycles();

	if (!valid(c, (uint64_t)rounds * c->lines))
		return -EINVAL;
	for (uint32_t r = 0; r < rounds; r++) {
		uint64_t start;

		wait_until(c, begin + r * c->slot);
		for (uint32_t i = 0; there && i < c->lines; i += 2)
			(void)timed_load(flushed_at(c, line_of(c, i)));
		start = ul_cycles();
		reload(c, unused);
		cycles[r] = ul_cycles() - start;
	}
	return 0;
}

/*
 * bits: UL_CHANNEL_WORDS words per slot, line 0 in the lowest bit. *late counts slots missed.
 *
 * Each bit selects an address instead of a branch: a mispredicted branch would load lines of 0 bits.
 */
UL_RAW int ul_channel_send(struct ul_channel *c, const uint64_t *bits, uint64_t *late)
{
	static const char nobody_times_this;
	const uint64_t elsewhere = (uint64_t)(uintptr_t)&nobody_times_this;

	if (!valid(c, (uint64_t)c->slots * c->lines))
		return -EINVAL;
	*late = 0;
	for (uint64_t s = 0; s < c->slots; s++) {
		uint64_t begin = c->start + s * c->slot;

		wait_until(c, begin);
		if (ul_cycles() > begin + c->turn) {
			++*late;
			continue;
		}
		for (uint32_t i = 0; i < c->lines; i++) {
			uint32_t line = line_of(c, i);
			uint64_t sent = bits[s * UL_CHANNEL_WORDS + line / 64] >> line % 64 & 1;
			uint64_t addr = elsewhere ^ ((elsewhere ^ loaded_at(c, line)) & -sent);

			(void)*(volatile char *)(uintptr_t)addr;
		}
	}
	return 0;
}

/* cycles: slots * lines, by slot and line. late: per slot, whether it ended after the next one began. */
int ul_channel_receive(struct ul_channel *c, uint16_t *cycles, uint8_t *late)
{
	if (!valid(c, (uint64_t)c->slots * c->lines))
		return -EINVAL;
	for (uint32_t i = 0; i < c->lines; i++)
		flush(flushed_at(c, i));
	flushed();
	for (uint32_t s = 0; s < c->slots; s++) {
		uint64_t begin = c->start + s * c->slot;

		wait_until(c, begin + c->turn);
		reload(c, cycles + (uint64_t)s * c->lines);
		late[s] = ul_cycles() > begin + c->slot;
	}
	return 0;
}

/* A neighbour that knows nothing of slots: loads, or with write stores to, a byte in every step, over and over. */
UL_RAW int ul_channel_disturb(uint64_t addr, uint64_t len, uint64_t step, int write, uint64_t ns)
{
	const uint64_t begin = ul_now_ns();

	if (!step || !len)
		return -EINVAL;
	while (ul_now_ns() - begin < ns) {
		for (uint64_t at = 0; at < len; at += step) {
			volatile char *byte = (volatile char *)(uintptr_t)(addr + at);

			if (write)
				*byte = 1;
			else
				(void)*byte;
		}
	}
	return 0;
}
