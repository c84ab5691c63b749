/* SPDX-License-Identifier: MIT */
/* Loads and stores, one per page, that take the faults the probes count. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "probe.h"
#include "random.h"

/*
 * The kernel answers SIGBUS when it has no page to give (an empty hugetlb pool) or it is poisoned,
 * and SIGSEGV where there is a guard. Both are reported, not fatal. Volatile, because only the signal handler reads it:
 * the compiler may drop the store otherwise.
 */
static __thread sigjmp_buf *volatile escape;
static struct sigaction previous_bus, previous_segv;
/* Several threads may touch at once: the first installs the handler, the last restores the old one. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static unsigned int guarded;

static void on_signal(int signo)
{
	if (escape)
		siglongjmp(*escape, signo);
	signal(signo, SIG_DFL);
	raise(signo);
}

static void guard_begin(sigjmp_buf *env)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal;
	escape = env;
	pthread_mutex_lock(&guard);
	if (!guarded++) {
		sigaction(SIGBUS, &action, &previous_bus);
		if (!ul_watching)
			sigaction(SIGSEGV, &action, &previous_segv);
	}
	pthread_mutex_unlock(&guard);
}

static void guard_end(void)
{
	escape = NULL;
	pthread_mutex_lock(&guard);
	if (!--guarded) {
		sigaction(SIGBUS, &previous_bus, NULL);
		if (!ul_watching)
			sigaction(SIGSEGV, &previous_segv, NULL);
	}
	pthread_mutex_unlock(&guard);
}

static int guard_escaped(int signo)
{
	guard_end();
	return signo == SIGSEGV ? -EACCES : -EFAULT;
}

/* Out of line: what is live across sigsetjmp() must not share registers with the loop. */
#define UL_LOOP UL_RAW __attribute__((noinline))

UL_RAW static inline void touch(uint64_t addr, int write)
{
	volatile char *byte = (volatile char *)(uintptr_t)addr;

	if (write)
		*byte = 1;
	else
		(void)*byte;
}

/* Four bins per octave: bin b starts at (4 + b % 4) * 2^(b / 4 - 2) ns. */
unsigned int ul_bin(uint64_t ns)
{
	unsigned int octave;

	if (ns < 4)
		return (unsigned int)ns;	/* 0..3 are exact, below the first full octave */
	octave = 63 - (unsigned int)__builtin_clzll(ns);
	return octave * 4 + (unsigned int)((ns >> (octave - 2)) & 3);
}

UL_LOOP static void touch_range(uint64_t addr, uint64_t len, uint64_t stride, int write)
{
	for (uint64_t at = 0; at < len; at += stride)
		touch(addr + at, write);
}

/* Every sample_every-th touch is timed on its own, so that the clock costs the loop next to nothing. */
UL_LOOP static void touch_sampled(uint64_t addr, uint64_t len, uint64_t stride, int write,
				 uint64_t sample_every, uint64_t *bins)
{
	uint64_t until_sample = sample_every, start;

	for (uint64_t at = 0; at < len; at += stride) {
		if (--until_sample) {
			touch(addr + at, write);
			continue;
		}
		until_sample = sample_every;
		start = ul_now_ns();
		touch(addr + at, write);
		bins[ul_bin(ul_now_ns() - start)]++;
	}
}

/* Without handling SIGBUS: for threads, which share its handler. sample_every 0: none is timed. */
void ul_touch_unguarded(uint64_t addr, uint64_t len, uint64_t stride, int write, uint64_t sample_every,
			uint64_t *bins)
{
	if (sample_every && bins)
		touch_sampled(addr, len, stride, write, sample_every, bins);
	else
		touch_range(addr, len, stride, write);
}

int ul_touch_every(uint64_t addr, uint64_t len, uint64_t stride, int write, uint64_t *ns,
		   uint64_t sample_every, uint64_t *bins)
{
	sigjmp_buf env;
	int signo;
	uint64_t start;

	if (!stride)
		return -EINVAL;
	signo = sigsetjmp(env, 1);
	if (signo)
		return guard_escaped(signo);
	guard_begin(&env);
	start = ul_now_ns();
	ul_touch_unguarded(addr, len, stride, write, sample_every, bins);
	*ns = ul_now_ns() - start;
	guard_end();
	return 0;
}

UL_LOOP static void touch_offsets(uint64_t addr, const uint64_t *offsets, uint64_t count, int write)
{
	for (uint64_t i = 0; i < count; i++)
		touch(addr + offsets[i], write);
}

int ul_touch_list(uint64_t addr, const uint64_t *offsets, uint64_t count, int write, uint64_t *ns)
{
	sigjmp_buf env;
	int signo;
	uint64_t start;

	signo = sigsetjmp(env, 1);
	if (signo)
		return guard_escaped(signo);
	guard_begin(&env);
	start = ul_now_ns();
	touch_offsets(addr, offsets, count, write);
	*ns = ul_now_ns() - start;
	guard_end();
	return 0;
}

static uint64_t faults_of_thread(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;	/* one that waited for a handler counts as major */
}

/* Read or write one byte; `faults` gets how many it took. */
int ul_touch_counted(uint64_t addr, int write, uint64_t *faults)
{
	const uint64_t here = 0;
	sigjmp_buf env;
	uint64_t before;
	int signo;

	signo = sigsetjmp(env, 1);
	if (signo)
		return guard_escaped(signo);
	guard_begin(&env);
	before = faults_of_thread();
	touch_offsets(addr, &here, 1, write);
	*faults = faults_of_thread() - before;
	guard_end();
	return 0;
}

UL_LOOP static void write_timed(uint64_t addr, const uint64_t *offsets, uint64_t count, uint32_t *ns)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t start = ul_now_ns(), took;

		touch(addr + offsets[i], 1);
		took = ul_now_ns() - start;
		ns[i] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
	}
}

/* Write at each offset in turn, each timed on its own, the clock's own time included. */
int ul_write_list_timed(uint64_t addr, const uint64_t *offsets, uint64_t count, uint32_t *ns)
{
	sigjmp_buf env;
	int signo;

	signo = sigsetjmp(env, 1);
	if (signo)
		return guard_escaped(signo);
	guard_begin(&env);
	write_timed(addr, offsets, count, ns);
	guard_end();
	return 0;
}

/* Selection sampling (Knuth, algorithm S): exactly `wanted` runs, each set of them equally likely. */
UL_LOOP static void touch_selected(uint64_t addr, uint64_t runs, uint64_t run_bytes, uint64_t stride,
				  uint64_t wanted, uint64_t seed)
{
	for (uint64_t run = 0; run < runs && wanted; run++) {
		if (ul_next_random(&seed) % (runs - run) >= wanted)
			continue;
		for (uint64_t at = 0; at < run_bytes; at += stride)
			touch(addr + run * run_bytes + at, 1);
		wanted--;
	}
}

/* Write to `wanted` of the runs of `run` pages, chosen uniformly by seed. */
int ul_touch_some(uint64_t addr, uint64_t len, uint64_t stride, uint64_t run, uint64_t wanted,
		  uint64_t seed)
{
	sigjmp_buf env;
	int signo;

	if (!stride || !run || wanted > len / stride / run)
		return -EINVAL;
	signo = sigsetjmp(env, 1);
	if (signo)
		return guard_escaped(signo);
	guard_begin(&env);
	touch_selected(addr, len / stride / run, run * stride, stride, wanted, seed);
	guard_end();
	return 0;
}
