/* SPDX-License-Identifier: MIT */
/*
 * The same steps by several threads on a CPU each, from a common start, and what the
 * kernel tells of each thread: faults, switches, CPU time, and waits for contended locks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"
#include "uapi.h"

/* From the last thread's arrival to the start: the thread that made the others has gone to sleep by then. */
#define LEAD_NS 200000ull

/* Off: a thread was not started or not pinned, and all return. */
enum { START_OPEN, START_SET, START_OFF };

struct start {
	int state, ready, failed;
	uint64_t ns;
};

struct worker {
	pthread_t thread;
	const struct ul_scaling *job;
	struct start *start;
	struct ul_scaled *out;
	int index, ret;
	int spins, semaphores;		/* counters of contended locks; negative: the kernel does not tell */
};

struct seen {
	struct rusage usage;
	int64_t spins, semaphores;
};

/* Counts of this thread. A queued spinlock has no flag; a semaphore is taken to read (2) or to write (4). */
static int open_waits(int64_t tracepoint, const char *filter)
{
	struct perf_event_attr attr;
	int fd;

	if (tracepoint < 0)
		return -1;
	memset(&attr, 0, sizeof(attr));
	attr.type = PERF_TYPE_TRACEPOINT;
	attr.size = sizeof(attr);
	attr.config = (uint64_t)tracepoint;
	fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd >= 0 && ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int64_t count_of(int fd)
{
	int64_t count;

	return fd >= 0 && read(fd, &count, sizeof(count)) == sizeof(count) ? count : -1;
}

static void look(const struct worker *me, struct seen *seen)
{
	getrusage(RUSAGE_THREAD, &seen->usage);
	seen->spins = count_of(me->spins);
	seen->semaphores = count_of(me->semaphores);
}

static int64_t difference(int64_t before, int64_t after)
{
	return before < 0 || after < 0 ? -1 : after - before;
}

static uint64_t us_of(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000ull + (uint64_t)time->tv_usec;
}

static void report(const struct seen *before, const struct seen *after, struct ul_scaled *out)
{
	out->system_us = us_of(&after->usage.ru_stime) - us_of(&before->usage.ru_stime);
	out->minor_faults = (uint64_t)(after->usage.ru_minflt - before->usage.ru_minflt);
	out->voluntary = (uint64_t)(after->usage.ru_nvcsw - before->usage.ru_nvcsw);
	out->involuntary = (uint64_t)(after->usage.ru_nivcsw - before->usage.ru_nivcsw);
	out->spin_waits = difference(before->spins, after->spins);
	out->semaphore_waits = difference(before->semaphores, after->semaphores);
}

static int protect(const struct ul_scaling *job, uint64_t addr)
{
	struct ul_uffdio_writeprotect wp = { .range = { addr, job->piece }, .mode = UL_WRITEPROTECT_MODE_WP };

	return ioctl(job->fd, UL_UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
}

static int take_steps(const struct ul_scaling *job, const struct ul_part *part)
{
	int ret = 0;

	for (uint64_t run = 0; run < part->runs && !ret; run++) {
		uint64_t addr = part->addr + run * part->run_step, len = part->steps * part->step;

		if (job->what != UL_STEP_PROTECT) {
			ul_touch_unguarded(addr, len, part->step, job->what == UL_STEP_WRITE, 0, NULL);
			continue;
		}
		for (uint64_t at = 0; at < len && !ret; at += part->step)
			ret = protect(job, addr + at);
	}
	return ret;
}

/* The last to arrive sets the start. Returns whether there is one. */
static int arrive(struct start *start, int threads)
{
	int state;

	if (__atomic_add_fetch(&start->ready, 1, __ATOMIC_SEQ_CST) == threads) {
		start->ns = ul_now_ns() + LEAD_NS;
		__atomic_store_n(&start->state, __atomic_load_n(&start->failed, __ATOMIC_SEQ_CST) ? START_OFF : START_SET,
				 __ATOMIC_RELEASE);
	}
	while ((state = __atomic_load_n(&start->state, __ATOMIC_ACQUIRE)) == START_OPEN)
		sched_yield();
	return state == START_SET;
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)cpu, &set);
	return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *work(void *arg)
{
	struct worker *me = arg;
	struct seen before, after;
	uint64_t cpu, begin, end;

	me->ret = pin(me->job->cpus[me->index]);
	if (me->ret)
		__atomic_store_n(&me->start->failed, 1, __ATOMIC_SEQ_CST);
	me->spins = open_waits(me->job->tracepoint, "flags == 0");
	me->semaphores = open_waits(me->job->tracepoint, "flags == 2 || flags == 4");
	look(me, &after);	/* so that their pages are there */
	cpu = ul_thread_cpu_ns();
	if (arrive(me->start, me->job->threads)) {
		look(me, &before);
		while (ul_now_ns() < me->start->ns)
			;
		cpu = ul_thread_cpu_ns();
		begin = ul_now_ns();
		me->ret = take_steps(me->job, &me->job->parts[me->index]);
		end = ul_now_ns();
		me->out->cpu_ns = ul_thread_cpu_ns() - cpu;
		look(me, &after);
		report(&before, &after, me->out);
		me->out->begin_ns = begin - me->start->ns;
		me->out->end_ns = end - me->start->ns;
	}
	if (me->spins >= 0)
		close(me->spins);
	if (me->semaphores >= 0)
		close(me->semaphores);
	return NULL;
}

/* The steps of all parts, a thread each; the first error of starting a thread, pinning one, or protecting. */
int ul_scale(const struct ul_scaling *job, struct ul_scaled *out, int *when)
{
	struct worker all[UL_THREADS];
	struct start start = { .state = START_OPEN };
	int started = 0, ret = 0;

	*when = UL_SCALE_STARTING;
	if (job->threads < 1 || job->threads > UL_THREADS)
		return -EINVAL;
	for (int i = 0; i < job->threads; i++)
		if (!job->parts[i].step)
			return -EINVAL;
	memset(all, 0, sizeof(all));
	memset(out, 0, (size_t)job->threads * sizeof(*out));
	for (; started < job->threads && !ret; started += !ret) {
		all[started].job = job;
		all[started].start = &start;
		all[started].out = &out[started];
		all[started].index = started;
		ret = -pthread_create(&all[started].thread, NULL, work, &all[started]);
	}
	if (ret)
		__atomic_store_n(&start.state, START_OFF, __ATOMIC_RELEASE);
	else
		*when = UL_SCALE_STEPPING;
	for (int i = 0; i < started; i++) {
		pthread_join(all[i].thread, NULL);
		ret = ret ? ret : all[i].ret;
	}
	if (start.failed && *when == UL_SCALE_STEPPING)
		*when = UL_SCALE_PINNING;
	return ret;
}
