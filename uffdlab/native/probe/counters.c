/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own counters of this process. No allocation and no stdio: a
 * reader of page-table growth must not grow page tables.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "probe.h"

static ssize_t slurp(const char *path, char *buf, size_t size)
{
	size_t used = 0;
	ssize_t got;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (used + 1 < size && (got = read(fd, buf + used, size - used - 1)) > 0)
		used += (size_t)got;
	buf[used] = '\0';
	close(fd);
	return (ssize_t)used;
}

/*
 * The text after a label at the start of a line, blanks aside. A process may be named
 * "VmPTE: 1": labels elsewhere do not count.
 */
static const char *after_label(const char *text, const char *label)
{
	while (text) {
		text += strspn(text, " ");
		if (!strncmp(text, label, strlen(label)))
			return text + strlen(label);
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

/* "VmPTE:\t   48 kB" -> 48; -1 when the line is not there. */
static int64_t status_kib(const char *text, const char *label)
{
	const char *value = after_label(text, label);

	return value ? strtoll(value, NULL, 10) : -1;
}

/* Sum over CPUs of the line that starts with the label, as in "TLB:   669   627   TLB shootdowns". */
static int64_t interrupts(const char *text, const char *label)
{
	const char *at = after_label(text, label);
	int64_t sum = 0;
	char *end;

	if (!at)
		return -1;
	for (; ; at = end) {
		long long count = strtoll(at, &end, 10);

		if (end == at)
			return sum;
		sum += count;
	}
}

int ul_counters(struct ul_counters *now)
{
	static char text[1 << 20];	/* /proc/interrupts grows with CPUs times interrupts */
	struct rusage usage;
	ssize_t got;

	got = slurp("/proc/self/status", text, sizeof(text));
	if (got < 0)
		return (int)got;
	now->vm_pte_kib = status_kib(text, "VmPTE:");
	now->vm_rss_kib = status_kib(text, "VmRSS:");
	now->rss_anon_kib = status_kib(text, "RssAnon:");
	now->rss_shmem_kib = status_kib(text, "RssShmem:");
	now->hugetlb_kib = status_kib(text, "HugetlbPages:");

	got = slurp("/proc/interrupts", text, sizeof(text));
	/* A full buffer means truncated text: unknown, rather than a sum over some CPUs. */
	now->tlb_ipis = got < 0 || got == sizeof(text) - 1 ? -1 : interrupts(text, "TLB:");

	if (getrusage(RUSAGE_SELF, &usage))
		return -errno;
	now->minor_faults = usage.ru_minflt;
	now->major_faults = usage.ru_majflt;
	return 0;
}

/*
 * Does a discard of a whole 2 MiB free its page table (CONFIG_PT_RECLAIM, since
 * 6.14)? Tried: fill the tables of 16 x 2 MiB, discard, look at VmPTE.
 */
int ul_pt_reclaim(void)
{
	const uint64_t len = 32ull << 20;
	struct ul_counters full, after;
	uint64_t addr, ns;
	int ret, advised;

	ret = ul_map(UL_MAP_ANON, len, 4096, &addr, &advised);
	if (ret)
		return ret;
	ul_touch_unguarded(addr, len, 2ull << 20, 1, 0, NULL);	/* in a child: see ask.c */
	ret = ul_counters(&full);
	if (!ret)
		ret = ul_discard(addr, len, len, &ns);
	if (!ret)
		ret = ul_counters(&after);
	ul_unmap(addr, len);
	if (ret)
		return ret;
	return full.vm_pte_kib - after.vm_pte_kib >= 32;
}

/* Kill this process when its parent ends; -ESRCH when that has ended already. */
int ul_die_with_parent(int parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}
