/* SPDX-License-Identifier: MIT */
#ifndef UFFDLAB_PROBE_H
#define UFFDLAB_PROBE_H

#include <stdint.h>

#include "probe.cdef.h"

uint64_t ul_thread_cpu_ns(void);

/*
 * Deliberate access to memory the sanitizers know nothing about: it must cost
 * exactly one load or store, and touch no shadow memory.
 */
#define UL_RAW __attribute__((no_sanitize("address", "undefined")))

void ul_touch_unguarded(uint64_t addr, uint64_t len, uint64_t stride, int write, uint64_t sample_every,
			uint64_t *bins);
int ul_pt_reclaim(void);
extern int ul_watching;

#endif
