/* SPDX-License-Identifier: MIT */
/* Page states from pagemap and PAGEMAP_SCAN, without touching a page. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "probe.h"
#include "uapi.h"

static int open_pagemap(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int scan(int fd, struct ul_pm_scan_arg *arg)
{
	int ret;

	arg->size = sizeof(*arg);
	ret = ioctl(fd, UL_PAGEMAP_SCAN, arg);
	return ret < 0 ? -errno : ret;
}

/* Unknown categories give EINVAL: retry with fewer. */
static int scan_page(int fd, uint64_t addr, uint64_t page_bytes, uint64_t *categories)
{
	const uint64_t masks[] = { UL_PAGE_CATEGORIES, UL_PAGE_CATEGORIES_6_7 };
	struct ul_page_region region;
	int ret = -EINVAL;

	for (unsigned int i = 0; i < 2 && ret == -EINVAL; i++) {
		struct ul_pm_scan_arg arg = {
			.start = addr, .end = addr + page_bytes,
			.vec = (uint64_t)(uintptr_t)&region, .vec_len = 1,
			.return_mask = masks[i],
		};

		ret = scan(fd, &arg);
	}
	if (ret < 0)
		return ret;
	*categories = ret ? region.categories : 0;
	return 0;
}

int ul_page_state(uint64_t addr, uint64_t page_bytes, struct ul_page_state *state)
{
	const uint64_t base = (uint64_t)sysconf(_SC_PAGESIZE);
	int fd, ret = 0;

	fd = open_pagemap();
	if (fd < 0)
		return fd;
	if (pread(fd, &state->pagemap, 8, (off_t)(addr / base * 8)) != 8)
		ret = errno ? -errno : -EIO;
	state->categories = 0;
	state->scan_errno = -scan_page(fd, addr, page_bytes, &state->categories);
	close(fd);
	return ret;
}

/*
 * The same for every base page of a range: pagemap bits without the PFN, which CAP_SYS_ADMIN shows, and
 * categories. A page in no region that PAGEMAP_SCAN returns has none; *scan_errno says why none are known.
 */
int ul_page_states(uint64_t addr, uint64_t len, uint64_t *pagemap, uint64_t *categories, int *scan_errno)
{
	const uint64_t base = (uint64_t)sysconf(_SC_PAGESIZE), flags = ~((1ull << 55) - 1);
	const ssize_t wanted = (ssize_t)(len / base * 8);
	struct ul_page_region regions[256];
	struct ul_pm_scan_arg arg = {
		.start = addr, .end = addr + len,
		.vec = (uint64_t)(uintptr_t)regions, .vec_len = 256, .return_mask = UL_PAGE_CATEGORIES_6_7,
	};
	int fd, got, ret = 0;

	*scan_errno = 0;
	fd = open_pagemap();
	if (fd < 0)
		return fd;
	if (pread(fd, pagemap, (size_t)wanted, (off_t)(addr / base * 8)) != wanted)
		ret = errno ? -errno : -EIO;
	for (uint64_t i = 0; i < len / base; i++) {
		pagemap[i] &= flags;
		categories[i] = 0;
	}
	do {
		got = ret ? 0 : scan(fd, &arg);
		for (int i = 0; i < got; i++)
			for (uint64_t at = regions[i].start; at < regions[i].end; at += base)
				categories[(at - addr) / base] = regions[i].categories;
		arg.start = arg.walk_end;
	} while (got > 0 && arg.walk_end < addr + len);
	close(fd);
	*scan_errno = got < 0 ? -got : 0;
	return ret;
}

/* Base pages in the range that have every given category. */
int ul_count_pages(uint64_t addr, uint64_t len, uint64_t category, uint64_t *pages)
{
	const uint64_t base = (uint64_t)sysconf(_SC_PAGESIZE);
	struct ul_page_region regions[256];
	struct ul_pm_scan_arg arg = {
		.start = addr, .end = addr + len,
		.vec = (uint64_t)(uintptr_t)regions, .vec_len = 256,
		.category_mask = category, .return_mask = category,
	};
	int fd, got;

	fd = open_pagemap();
	if (fd < 0)
		return fd;
	*pages = 0;
	do {
		got = scan(fd, &arg);
		for (int i = 0; i < got; i++)
			*pages += (regions[i].end - regions[i].start) / base;
		arg.start = arg.walk_end;
	} while (got > 0 && arg.walk_end < addr + len);
	close(fd);
	return got < 0 ? got : 0;
}

int ul_pagemap_scan_supported(void)
{
	struct ul_pm_scan_arg arg = { .return_mask = UL_PAGE_IS_PFNZERO };
	int fd, ret;

	fd = open_pagemap();
	if (fd < 0)
		return fd;
	ret = scan(fd, &arg);
	close(fd);
	return ret < 0 ? ret : 1;
}
