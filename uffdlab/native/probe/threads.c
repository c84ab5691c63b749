/* SPDX-License-Identifier: MIT */
/*
 * Touching by several pinned threads at once: the cost of faults with TLB
 * shootdowns to other CPUs that run the same address space.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "probe.h"

enum { GATE_SHUT, GATE_OPEN, GATE_OFF };	/* off: not all threads were started, return */

struct toucher {
	pthread_t thread;
	const struct ul_touching *job;
	const int *gate;
	int *ready;
	int index, ret;
	uint64_t touches, begin_ns, end_ns;
	uint64_t bins[UL_BINS];
};

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)cpu, &set);
	return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/*
 * Apart: each thread has a contiguous share. Together: thread t of n takes touches t,
 * t + n, t + 2n ..., so that all of them fault under the same PTE tables.
 */
static void share_of(const struct toucher *me, uint64_t *first, uint64_t *step, uint64_t *count)
{
	const struct ul_touching *job = me->job;
	uint64_t all = job->len / job->stride, each = all / (uint64_t)job->threads;

	*count = each;
	*step = job->together ? job->stride * (uint64_t)job->threads : job->stride;
	*first = job->addr + (uint64_t)me->index * (job->together ? job->stride : each * job->stride);
}

/* Opened when every thread is pinned; spun on, so that they begin together. */
static int pass_gate(const int *gate, int *ready)
{
	int state;

	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);

	while ((state = __atomic_load_n(gate, __ATOMIC_ACQUIRE)) == GATE_SHUT)
		sched_yield();
	return state == GATE_OPEN;
}

static void spin_until(uint64_t end_ns)
{
	while (ul_now_ns() < end_ns)
		;
}

static void *work(void *arg)
{
	struct toucher *me = arg;
	const struct ul_touching *job = me->job;
	uint64_t first, step, count;

	share_of(me, &first, &step, &count);
	me->touches = count;
	me->ret = job->pinned ? pin(job->cpus[me->index]) : 0;
	if (!pass_gate(me->gate, me->ready))
		return NULL;
	me->begin_ns = ul_now_ns();
	if (job->wait_ns)
		spin_until(me->begin_ns + job->wait_ns);
	else if (!me->ret && count)
		ul_touch_unguarded(first, (count - 1) * step + 1, step, job->write, job->sample_every,
				   me->bins);
	me->end_ns = ul_now_ns();
	return NULL;
}

static void collect(const struct toucher *all, int threads, struct ul_touched *sum)
{
	uint64_t begin = UINT64_MAX, end = 0;

	memset(sum, 0, sizeof(*sum));
	for (int i = 0; i < threads; i++) {
		begin = all[i].begin_ns < begin ? all[i].begin_ns : begin;
		end = all[i].end_ns > end ? all[i].end_ns : end;
		sum->busy_ns += all[i].end_ns - all[i].begin_ns;
		sum->touches += all[i].touches;
		for (unsigned int b = 0; b < UL_BINS; b++)
			sum->bins[b] += all[i].bins[b];
	}
	sum->wall_ns = end - begin;
}

/* One touch per stride by job->threads threads, or none for job->wait_ns; the first error of pinning one, or of starting one. */
int ul_touch_threads(const struct ul_touching *job, struct ul_touched *sum)
{
	struct toucher all[UL_THREADS];
	int gate = GATE_SHUT, ready = 0, started = 0, ret = 0;

	if (!job->stride || job->threads < 1 || job->threads > UL_THREADS)
		return -EINVAL;
	memset(all, 0, sizeof(all));
	for (; started < job->threads; started++) {
		all[started].job = job;
		all[started].gate = &gate;
		all[started].ready = &ready;
		all[started].index = started;
		ret = -pthread_create(&all[started].thread, NULL, work, &all[started]);
		if (ret)
			break;
	}
	sum->pinned = !ret;
	while (!ret && __atomic_load_n(&ready, __ATOMIC_SEQ_CST) < job->threads)
		sched_yield();
	__atomic_store_n(&gate, ret ? GATE_OFF : GATE_OPEN, __ATOMIC_RELEASE);
	for (int i = 0; i < started; i++) {
		pthread_join(all[i].thread, NULL);
		ret = ret ? ret : all[i].ret;
	}
	if (!ret)
		collect(all, job->threads, sum);
	return ret;
}
