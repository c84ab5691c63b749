/* SPDX-License-Identifier: MIT */
/* Pages of given contents for KSM: two pages of the same seed are identical. */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>

#include "probe.h"
#include "random.h"

/* Fill `count` pages: page i with random words of seeds[i], or with zeros where that is 0. */
UL_RAW int ul_fill_pages(uint64_t addr, uint64_t page_bytes, const uint64_t *seeds, uint64_t count)
{
	if (!page_bytes || page_bytes % sizeof(uint64_t))
		return -EINVAL;
	for (uint64_t i = 0; i < count; i++) {
		volatile uint64_t *word = (volatile uint64_t *)(uintptr_t)(addr + i * page_bytes);
		uint64_t state = seeds[i];

		for (uint64_t at = 0; at < page_bytes / sizeof(*word); at++)
			word[at] = seeds[i] ? ul_next_random(&state) : 0;
	}
	return 0;
}

/* Copy a page to each of `count` pages that follow one another. */
UL_RAW int ul_copy_page(uint64_t from, uint64_t to, uint64_t page_bytes, uint64_t count)
{
	const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)from;

	if (!page_bytes || page_bytes % sizeof(*word))
		return -EINVAL;
	for (uint64_t i = 0; i < count; i++)
		for (uint64_t at = 0; at < page_bytes / sizeof(*word); at++)
			((volatile uint64_t *)(uintptr_t)(to + i * page_bytes))[at] = word[at];
	return 0;
}
