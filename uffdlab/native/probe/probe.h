/* SPDX-License-Identifier: MIT */
#ifndef UFFDLAB_PROBE_H
#define UFFDLAB_PROBE_H

#include <stdint.h>

#include "probe.cdef.h"

/*
 * Deliberate access to memory the sanitizers know nothing about: it must cost
 * exactly one load or store, and touch no shadow memory.
 */
#define UL_RAW __attribute__((no_sanitize("address", "undefined")))

#endif
