/* SPDX-License-Identifier: MIT */
/* Dirty tracking: collect the written pages, and protect them again. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "probe.h"
#include "random.h"
#include "uapi.h"

/*
 * Offsets of `wanted` of `runs` runs, each set of them equally likely (Knuth,
 * algorithm S), in ascending order and one for each `step` of a run.
 */
void ul_choose_runs(uint64_t runs, uint64_t wanted, uint64_t run_bytes, uint64_t step, uint64_t seed,
		    uint64_t *offsets)
{
	for (uint64_t run = 0; run < runs && wanted; run++) {
		if (ul_next_random(&seed) % (runs - run) >= wanted)
			continue;
		for (uint64_t at = 0; at < run_bytes; at += step)
			*offsets++ = run * run_bytes + at;
		wanted--;
	}
}

static void note(const struct ul_page_region *regions, uint64_t count, uint64_t addr, uint64_t page,
		 struct ul_scan_result *result, uint8_t *written)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t pages = (regions[i].end - regions[i].start) / page;

		result->pages += pages;
		memset(written + (regions[i].start - addr) / page, 1, pages);
	}
}

/* The time is that of the ioctls alone; the buffer has room for all regions. */
static int scan_all(int fd, struct ul_pm_scan_arg *arg, uint64_t page, struct ul_scan_result *result,
		    uint8_t *written)
{
	const struct ul_page_region *regions = (const void *)(uintptr_t)arg->vec;
	const uint64_t addr = arg->start;

	while (arg->start < arg->end) {
		uint64_t start = ul_now_ns();
		int got = ioctl(fd, UL_PAGEMAP_SCAN, arg);

		result->ns += ul_now_ns() - start;
		if (got < 0)
			return -errno;
		result->calls++;
		result->regions += (uint64_t)got;
		note(regions, (uint64_t)got, addr, page, result, written);
		if (arg->walk_end <= arg->start)
			return -EIO;
		arg->start = arg->walk_end;
	}
	return 0;
}

/*
 * Report the pages written since they were last protected, and protect them
 * again, in one pass. `written` gets a 1 for each of them. The buffer has room
 * for every other page and is touched in advance: its faults are not the scan's.
 */
int ul_scan_written(uint64_t addr, uint64_t len, struct ul_scan_result *result, uint8_t *written)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct ul_pm_scan_arg arg = {
		.size = sizeof(arg), .start = addr, .end = addr + len,
		.flags = UL_PM_SCAN_WP_MATCHING | UL_PM_SCAN_CHECK_WPASYNC,
		.category_mask = UL_PAGE_IS_WRITTEN, .return_mask = UL_PAGE_IS_WRITTEN,
		.vec_len = len / page / 2 + 1,
	};
	struct ul_page_region *regions;
	int fd, ret;

	memset(result, 0, sizeof(*result));
	regions = malloc(arg.vec_len * sizeof(*regions));
	if (!regions)
		return -ENOMEM;
	memset(regions, 1, arg.vec_len * sizeof(*regions));
	arg.vec = (uint64_t)(uintptr_t)regions;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		ret = -errno;
		goto free_regions;
	}
	ret = scan_all(fd, &arg, page, result, written);
	close(fd);
free_regions:
	free(regions);
	return ret;
}

/* One UFFDIO_WRITEPROTECT of `len` bytes at each offset, as by a tracker that knows its pages. */
int ul_protect_list(int fd, uint64_t addr, const uint64_t *offsets, uint64_t count, uint64_t len,
		    uint64_t *ns)
{
	uint64_t start = ul_now_ns(), one;
	int ret = 0;

	for (uint64_t i = 0; i < count && !ret; i++)
		ret = ul_write_protect(fd, addr + offsets[i], len, 1, &one);
	*ns = ul_now_ns() - start;
	return ret;
}
