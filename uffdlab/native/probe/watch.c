/* SPDX-License-Identifier: MIT */
/* Dirty tracking without userfaultfd: mprotect(2) with SIGSEGV, and soft-dirty bits. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"
#include "random.h"
#include "uapi.h"

static struct {
	uint64_t addr, len, page_bytes;
	uint8_t *seen;			/* a byte per page */
	struct ul_watch_stats stats;
} watched;
static struct sigaction before;
int ul_watching;			/* SIGSEGV is ours: touch.c leaves it alone */

static int protect_range(uint64_t addr, uint64_t len, int how)
{
	return mprotect((void *)(uintptr_t)addr, len, how) ? -errno : 0;
}

/*
 * A write to a protected page: note it and make the page writable, which splits the mapping. A process may have so
 * many mappings (vm.max_map_count): beyond, the whole range becomes writable and every page counts as written.
 */
static void on_write(int signo, siginfo_t *info, void *context)
{
	const uint64_t at = (uint64_t)(uintptr_t)info->si_addr - watched.addr;
	const uint64_t page = at / watched.page_bytes;

	(void)context;
	if (at >= watched.len) {	/* not ours: it happens again, and then to whom it belongs */
		sigaction(signo, &before, NULL);
		return;
	}
	watched.stats.faults++;
	watched.seen[page] = 1;
	if (!protect_range(watched.addr + page * watched.page_bytes, watched.page_bytes, PROT_READ | PROT_WRITE))
		return;
	watched.stats.gave_up = 1;
	memset(watched.seen, 1, watched.len / watched.page_bytes);
	if (protect_range(watched.addr, watched.len, PROT_READ | PROT_WRITE))
		sigaction(signo, &before, NULL);
}

/* One range at a time, and one thread that writes to it. */
int ul_watch_begin(uint64_t addr, uint64_t len, uint64_t page_bytes, uint8_t *seen, uint64_t *ns)
{
	struct sigaction action;
	uint64_t start;
	int ret;

	if (ul_watching)
		return -EBUSY;
	memset(&watched, 0, sizeof(watched));
	watched.addr = addr;
	watched.len = len;
	watched.page_bytes = page_bytes;
	watched.seen = seen;
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_write;
	action.sa_flags = SA_SIGINFO;
	sigaction(SIGSEGV, &action, &before);
	ul_watching = 1;
	start = ul_now_ns();
	ret = protect_range(addr, len, PROT_READ);
	*ns = ul_now_ns() - start;
	return ret;
}

/* Protect the whole range again, which joins its mappings. */
int ul_watch_again(uint64_t *ns)
{
	uint64_t start = ul_now_ns();
	int ret = protect_range(watched.addr, watched.len, PROT_READ);

	*ns = ul_now_ns() - start;
	return ret;
}

int ul_watch_end(struct ul_watch_stats *stats)
{
	int ret = protect_range(watched.addr, watched.len, PROT_READ | PROT_WRITE);

	sigaction(SIGSEGV, &before, NULL);
	ul_watching = 0;
	*stats = watched.stats;
	return ret;
}

/* Of all memory of this process: /proc/self/clear_refs knows no ranges. */
int ul_soft_dirty_clear(uint64_t *ns)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC), ret = 0;
	uint64_t start;

	if (fd < 0)
		return -errno;
	start = ul_now_ns();
	if (write(fd, "4", 1) != 1)
		ret = -errno;
	*ns = ul_now_ns() - start;
	close(fd);
	return ret;
}

/* A byte per page: whether pagemap has its soft-dirty bit. The time is that of the reads alone. */
int ul_soft_dirty_read(uint64_t addr, uint64_t len, uint64_t page_bytes, uint8_t *written, uint64_t *ns)
{
	const uint64_t base = (uint64_t)sysconf(_SC_PAGESIZE), step = page_bytes / base;
	uint64_t words[4096], start;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ns = 0;
	for (uint64_t at = 0; at < len / base; ) {
		const uint64_t left = len / base - at, wanted = left < 4096 ? left : 4096;
		ssize_t got;

		start = ul_now_ns();
		got = pread(fd, words, wanted * 8, (off_t)((addr / base + at) * 8));
		*ns += ul_now_ns() - start;
		if (got != (ssize_t)(wanted * 8)) {
			int ret = got < 0 ? -errno : -EIO;

			close(fd);
			return ret;
		}
		for (uint64_t i = 0; i < wanted; i++)
			written[(at + i) / step] |= !!(words[i] & UL_PM_SOFT_DIRTY);
		at += wanted;
	}
	close(fd);
	return 0;
}

static double uniform(uint64_t *state)
{
	return (double)(ul_next_random(state) >> 11) * 0x1.0p-53;
}

/* The first rank whose cumulative weight lies above `wanted`. */
static uint64_t rank_of(const double *cumulative, uint64_t pages, double wanted)
{
	uint64_t low = 0, high = pages - 1;

	while (low < high) {
		const uint64_t middle = low + (high - low) / 2;

		if (cumulative[middle] > wanted)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/*
 * `count` offsets of pages drawn by Zipf's law with exponent 1, with repetition: the page of rank r as often as 1 / r.
 * Ranks are spread over the range by a random order of the pages.
 */
int ul_choose_zipf(uint64_t pages, uint64_t count, uint64_t page_bytes, uint64_t seed, uint64_t *offsets)
{
	double *cumulative = malloc(pages * sizeof(*cumulative)), sum = 0;
	uint64_t *order = malloc(pages * sizeof(*order));
	int ret = cumulative && order ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < pages && !ret; i++) {
		const uint64_t other = i ? ul_next_random(&seed) % (i + 1) : 0;	/* Fisher and Yates */

		sum += 1.0 / (double)(i + 1);
		cumulative[i] = sum;
		order[i] = order[other];
		order[other] = i;
	}
	for (uint64_t i = 0; i < count && !ret; i++)
		offsets[i] = order[rank_of(cumulative, pages, uniform(&seed) * sum)] * page_bytes;
	free(cumulative);
	free(order);
	return ret;
}
