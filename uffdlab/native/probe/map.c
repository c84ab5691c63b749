/* SPDX-License-Identifier: MIT */
/* Mappings of every backing that the probes compare, unpopulated. */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "probe.h"
#include "uapi.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

#define PMD (2ull << 20)

static int log2_of(uint64_t power_of_two)
{
	return 63 - __builtin_clzll(power_of_two);
}

/*
 * Reserve address space with slack, then place the mapping aligned inside it:
 * a 2 MiB table (or a huge page) must not straddle the edges of the range.
 */
static int map_aligned(uint64_t len, uint64_t align, int flags, int fd, uint64_t *addr)
{
	uint64_t base, start;
	void *slack, *got;
	int err;

	if (len > UINT64_MAX - align)
		return -ENOMEM;
	slack = mmap(NULL, len + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (slack == MAP_FAILED)
		return -errno;
	base = (uint64_t)(uintptr_t)slack;
	start = (base + align - 1) & ~(align - 1);
	got = mmap((void *)(uintptr_t)start, len, PROT_READ | PROT_WRITE,
		   flags | MAP_FIXED | MAP_NORESERVE, fd, 0);
	err = errno;
	if (got == MAP_FAILED) {
		munmap(slack, len + align);
		return -err;
	}
	if (start > base)
		munmap(slack, start - base);
	munmap((void *)(uintptr_t)(start + len), base + align - start);
	*addr = start;
	return 0;
}

/* A kernel without THP answers EINVAL: then there is nothing to turn off. */
static int advise_new(uint64_t addr, uint64_t len, int advice)
{
	int ret = 0;

	if (madvise((void *)(uintptr_t)addr, len, advice) && (errno != EINVAL || advice == MADV_HUGEPAGE)) {
		ret = -errno;
		munmap((void *)(uintptr_t)addr, len);
	}
	return ret;
}

/* On failure, *advised is 1 if madvise(2) failed, 0 if mmap(2) did. */
int ul_map(int kind, uint64_t len, uint64_t page_bytes, uint64_t *addr, int *advised)
{
	const int hugetlb = kind == UL_MAP_HUGETLB_PRIVATE || kind == UL_MAP_HUGETLB_SHARED;
	const int huge = hugetlb ? MAP_HUGETLB | (log2_of(page_bytes) << MAP_HUGE_SHIFT) : 0;
	const int sharing = kind == UL_MAP_SHMEM || kind == UL_MAP_HUGETLB_SHARED ? MAP_SHARED : MAP_PRIVATE;
	const int advice = kind == UL_MAP_ANON_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
	int ret;

	*advised = 0;
	if (kind < UL_MAP_ANON || kind > UL_MAP_PLAIN)
		return -EINVAL;
	ret = map_aligned(len, hugetlb ? page_bytes : PMD, sharing | MAP_ANONYMOUS | huge, -1, addr);
	if (ret || hugetlb || kind == UL_MAP_PLAIN)
		return ret;
	*advised = 1;
	return advise_new(*addr, len, advice);
}

/* The start of a file, which the caller has made long enough: small pages. */
int ul_map_file(int fd, int shared, uint64_t len, uint64_t *addr, int *advised)
{
	int ret;

	*advised = 0;
	ret = map_aligned(len, PMD, shared ? MAP_SHARED : MAP_PRIVATE, fd, addr);
	if (ret)
		return ret;
	*advised = 1;
	return advise_new(*addr, len, MADV_NOHUGEPAGE);
}

int ul_unmap(uint64_t addr, uint64_t len)
{
	return munmap((void *)(uintptr_t)addr, len) ? -errno : 0;
}

/* MADV_DONTNEED in calls of `piece` bytes: CONFIG_PT_RECLAIM frees a PTE table only when one call covers it. */
int ul_discard(uint64_t addr, uint64_t len, uint64_t piece, uint64_t *ns)
{
	uint64_t start = ul_now_ns();
	int ret = piece ? 0 : -EINVAL;

	for (uint64_t at = 0; at < len && !ret; at += piece)
		if (madvise((void *)(uintptr_t)(addr + at), len - at < piece ? len - at : piece, MADV_DONTNEED))
			ret = -errno;
	*ns = ul_now_ns() - start;
	return ret;
}

int ul_advise(uint64_t addr, uint64_t len, int advice, uint64_t *ns)
{
	uint64_t start = ul_now_ns();
	int ret = madvise((void *)(uintptr_t)addr, len, advice) ? -errno : 0;

	*ns = ul_now_ns() - start;
	return ret;
}

int ul_lock(uint64_t addr, uint64_t len)
{
	return mlock((void *)(uintptr_t)addr, len) ? -errno : 0;
}

/* Its old place stays reserved: whoever unmaps it later unmaps nothing else. */
int ul_remap(uint64_t *addr, uint64_t len, uint64_t align)
{
	void *old = (void *)(uintptr_t)*addr;
	uint64_t to;
	int ret;

	ret = map_aligned(len, align, MAP_PRIVATE | MAP_ANONYMOUS, -1, &to);
	if (ret)
		return ret;
	if (mremap(old, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(uintptr_t)to) == MAP_FAILED) {
		ret = -errno;
		munmap((void *)(uintptr_t)to, len);
		return ret;
	}
	*addr = to;
	if (mmap(old, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	return 0;
}
