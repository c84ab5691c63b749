/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <time.h>

#include "probe.h"

static uint64_t ns_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

uint64_t ul_now_ns(void)
{
	return ns_of(CLOCK_MONOTONIC);
}

/* CPU time of the thread that asks. */
uint64_t ul_thread_cpu_ns(void)
{
	return ns_of(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t ul_cycles(void)
{
#if defined(__x86_64__)
	uint32_t low, high;

	/* The fence keeps earlier loads from being counted as later ones. */
	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return ((uint64_t)high << 32) | low;
#elif defined(__aarch64__)
	uint64_t value;

	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(value) : : "memory");
	return value;
#else
	return 0;
#endif
}

const char *ul_compiler(void)
{
#if defined(__clang__)
	return "clang " __clang_version__;
#elif defined(__GNUC__)
	return "gcc " __VERSION__;
#else
	return "unknown";
#endif
}
