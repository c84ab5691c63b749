/* SPDX-License-Identifier: MIT */
/*
 * Threads that discard and write random pages of a range while another thread
 * prepares and protects it. Records when each page's last discard ended. A discard
 * is noted after it ended, by the phase that is read then: reading a phase before
 * UL_RACE_PROTECTING proves that it ended before the ioctl began, because the phase
 * is entered first. A discard that overlaps the entry counts as later, so doubt
 * always excludes a page; for the same reason, one that is noted as after the ioctl
 * may have ended just before it returned.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "probe.h"
#include "random.h"

#define WRITES_AT_ONCE 8
#define LEAD_POLL_NS 50000

struct ul_race {
	struct ul_race_plan plan;
	pthread_t discarder, writer;
	_Atomic int phase, stop, discard_error;
	_Atomic uint64_t led;		/* pages discarded so far, for ul_race_lead() */
	struct ul_race_stats stats;
};

static void rest(uint64_t ns)
{
	const struct timespec time = {
		.tv_sec = (time_t)(ns / 1000000000ull),
		.tv_nsec = (long)(ns % 1000000000ull),
	};

	if (ns)
		nanosleep(&time, NULL);
}

static void note_discard(struct ul_race *race, uint64_t page)
{
	const int phase = race->phase;
	uint8_t *noted = &race->plan.discarded[page];

	if (phase == UL_RACE_PROTECTED)
		*noted = UL_DISCARD_AFTER;
	else if (phase == UL_RACE_PROTECTING)
		*noted = UL_DISCARD_DURING;
	else
		*noted = UL_DISCARD_BEFORE;
	race->stats.discards[phase]++;
	race->led++;
}

static void *discard_pages(void *arg)
{
	struct ul_race *race = arg;
	const struct ul_race_plan *plan = &race->plan;
	uint64_t seed = plan->seed, ns;

	while (!race->stop) {
		uint64_t page = ul_next_random(&seed) % plan->pages;
		int ret = ul_discard(plan->addr + page * plan->page_bytes, plan->page_bytes, plan->page_bytes, &ns);

		if (ret) {
			race->discard_error = -ret;
			return NULL;
		}
		note_discard(race, page);
		/* No pause during the lead. */
		if (race->phase != UL_RACE_LEAD)
			rest(plan->pause_ns);
	}
	return NULL;
}

static void *write_pages(void *arg)
{
	struct ul_race *race = arg;
	const struct ul_race_plan *plan = &race->plan;
	uint64_t seed = ~plan->seed, offsets[WRITES_AT_ONCE], ns;

	while (!race->stop) {
		int ret;

		/* Pages discarded in the lead stay empty until they are prepared. */
		if (race->phase == UL_RACE_LEAD) {
			rest(LEAD_POLL_NS);
			continue;
		}
		for (int i = 0; i < WRITES_AT_ONCE; i++)
			offsets[i] = ul_next_random(&seed) % plan->pages * plan->page_bytes;
		ret = ul_touch_list(plan->addr, offsets, WRITES_AT_ONCE, 1, &ns);
		if (ret) {
			race->stats.write_error = -ret;
			return NULL;
		}
		race->stats.writes += WRITES_AT_ONCE;
		rest(plan->pause_ns);
	}
	return NULL;
}

/* NULL, and errno, when no memory or thread is available. */
struct ul_race *ul_race_start(const struct ul_race_plan *plan)
{
	struct ul_race *race = calloc(1, sizeof(*race));
	int ret;

	if (!race)
		return NULL;
	race->plan = *plan;
	ret = pthread_create(&race->discarder, NULL, discard_pages, race);
	if (ret)
		goto free_race;
	ret = pthread_create(&race->writer, NULL, write_pages, race);
	if (ret)
		goto stop_discarder;
	return race;

stop_discarder:
	race->stop = 1;
	pthread_join(race->discarder, NULL);
free_race:
	free(race);
	errno = ret;
	return NULL;
}

/* Wait until `discards` pages were discarded, or discarding failed: see ul_race_stop(). */
int ul_race_lead(struct ul_race *race, uint64_t discards, uint64_t timeout_ns)
{
	const uint64_t deadline = ul_now_ns() + timeout_ns;

	while (race->led < discards && !race->discard_error) {
		if (ul_now_ns() > deadline)
			return -ETIMEDOUT;
		rest(LEAD_POLL_NS);
	}
	return 0;
}

void ul_race_enter(struct ul_race *race, int phase)
{
	race->phase = phase;
}

/* Joins the threads: nothing is discarded or written after it returns. */
void ul_race_stop(struct ul_race *race, struct ul_race_stats *stats)
{
	race->stop = 1;
	pthread_join(race->discarder, NULL);
	pthread_join(race->writer, NULL);
	*stats = race->stats;
	stats->discard_error = race->discard_error;
	free(race);
}
