/* SPDX-License-Identifier: MIT */
/*
 * Operations tried on the kernel, each in a child process: a seccomp filter may
 * kill the caller, and a system call may hang. How the child ended is the answer.
 *
 * The child has its parent's filter, privileges and control group. It calls
 * nothing that takes a lock which another thread of the parent may hold.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"
#include "uapi.h"

#define CPU_SETS 8		/* of 1024 CPUs each */
#define POLL_NS 100000

static struct ul_answer *trapped;	/* where the child stores which system call was trapped */

static int64_t ask_userfaultfd(struct ul_answer *a)
{
	int fd = ul_uffd_open(0, &a->via), ret;

	if (fd < 0)
		return fd;
	a->step++;
	ret = ul_uffd_api(fd, 0, &a->features, &a->ioctls);
	close(fd);
	return ret;
}

/* The operations of probes and handlers: protect a page, discard it, fill it. */
static int64_t ask_protect(struct ul_answer *a)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct ul_uffdio_copy copy = { .len = page };
	uint64_t addr, ns;
	void *got;
	int fd, ret;

	fd = ul_uffd_open(0, &a->via);
	if (fd < 0)
		return fd;
	a->step++;
	ret = ul_uffd_api(fd, 0, &a->features, &a->ioctls);
	if (ret)
		return ret;
	a->step++;
	got = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (got == MAP_FAILED)
		return -errno;
	addr = (uint64_t)(uintptr_t)got;
	a->step++;
	ret = ul_register(fd, addr, page, UL_REGISTER_MODE_WP | UL_REGISTER_MODE_MISSING, &a->ioctls, &ns);
	if (ret)
		return ret;
	a->step++;
	ret = ul_write_protect(fd, addr, page, 1, &ns);
	if (ret)
		return ret;
	a->step++;
	ret = ul_discard(addr, page, page, &ns);
	if (ret)
		return ret;
	a->step++;
	copy.dst = addr;
	copy.src = addr + page;
	return ioctl(fd, UL_UFFDIO_COPY, &copy) ? -errno : 0;
}

static int64_t ask_pagemap_scan(struct ul_answer *a)
{
	(void)a;
	return ul_pagemap_scan_supported();
}

static int64_t ask_populate_read(struct ul_answer *a)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	void *addr = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t ns;

	if (addr == MAP_FAILED)
		return -errno;
	a->step++;
	return ul_advise((uint64_t)(uintptr_t)addr, page, UL_MADV_POPULATE_READ, &ns);
}

static int64_t ask_pt_reclaim(struct ul_answer *a)
{
	(void)a;
	return ul_pt_reclaim();
}

/* Are writes remembered by soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)? 0 where the bits do not tell one. */
static int64_t ask_soft_dirty(struct ul_answer *a)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	volatile char *addr = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t dirty[2] = { 0, 0 };
	uint64_t ns;
	int ret;

	if (addr == MAP_FAILED)
		return -errno;
	*addr = 1;
	a->step++;
	ret = ul_soft_dirty_clear(&ns);
	if (ret)
		return ret;
	a->step++;
	for (int written = 0; written < 2; written++) {
		ret = ul_soft_dirty_read((uint64_t)(uintptr_t)addr, page, page, &dirty[written], &ns);
		if (ret)
			return ret;
		*addr = 2;
	}
	return !dirty[0] && dirty[1];
}

static int64_t ask_die_with_parent(struct ul_answer *a)
{
	const int ret = ul_die_with_parent(a->parent);

	return ret == -ESRCH ? 0 : ret;	/* the parent is in another PID namespace, or gone */
}

static void *nothing(void *arg)
{
	return arg;
}

/* Pin this thread, and start another one, as for handlers and racing threads. */
static int64_t ask_pinned_thread(struct ul_answer *a)
{
	const int cpu = sched_getcpu();
	cpu_set_t here[CPU_SETS];
	pthread_t thread;
	int ret;

	memset(here, 0, sizeof(here));
	CPU_SET_S((size_t)(cpu < 0 ? 0 : cpu), sizeof(here), here);
	if (sched_setaffinity(0, sizeof(here), here))
		return -errno;
	a->step++;
	ret = pthread_create(&thread, NULL, nothing, NULL);
	return ret ? -ret : -pthread_join(thread, NULL);
}

static int64_t (*const questions[UL_QUESTIONS])(struct ul_answer *) = {
	[UL_ASK_USERFAULTFD] = ask_userfaultfd,
	[UL_ASK_PROTECT] = ask_protect,
	[UL_ASK_PAGEMAP_SCAN] = ask_pagemap_scan,
	[UL_ASK_POPULATE_READ] = ask_populate_read,
	[UL_ASK_PT_RECLAIM] = ask_pt_reclaim,
	[UL_ASK_DIE_WITH_PARENT] = ask_die_with_parent,
	[UL_ASK_PINNED_THREAD] = ask_pinned_thread,
	[UL_ASK_SOFT_DIRTY] = ask_soft_dirty,
};

/* SECCOMP_RET_TRAP gives the system call; SECCOMP_RET_KILL does not. */
static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	(void)context;
	trapped->system_call = info->si_syscall;
	raise(signo);		/* SA_RESETHAND has restored the default action */
	_exit(1);
}

/* Handlers of the parent must not run here: they may write to its descriptors. */
static void reset_handlers(void)
{
	const struct sigaction trap = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER };
	const struct sigaction none = { .sa_handler = SIG_DFL };

	for (int signo = 1; signo < NSIG; signo++)
		sigaction(signo, signo == SIGSYS ? &trap : &none, NULL);
}

static void run_child(int question, unsigned int seconds, struct ul_answer *shared)
{
	sigset_t none;

	trapped = shared;
	reset_handlers();
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	alarm(seconds + 1);	/* should the parent be gone by then */
	shared->result = questions[question](shared);
	shared->answered = 1;
	_exit(0);
}

/* The child's wait status; -ETIMEDOUT where it was killed here; -ECHILD where it was reaped elsewhere. */
static int wait_for(pid_t child, uint64_t timeout_ns)
{
	const struct timespec nap = { .tv_nsec = POLL_NS };
	const uint64_t deadline = ul_now_ns() + timeout_ns;
	int status;

	for (;;) {
		pid_t got = waitpid(child, &status, WNOHANG);

		if (got == child)
			return status;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (ul_now_ns() > deadline)
			break;
		nanosleep(&nap, NULL);
	}
	kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return -ETIMEDOUT;
}

/* 0 when a child was started: its result, or how it ended, is in `answer`. */
int ul_ask(int question, unsigned int seconds, struct ul_answer *answer)
{
	struct ul_answer *shared;
	sigset_t all, before;
	int status = 0;
	pid_t child;

	if (question < 0 || question >= UL_QUESTIONS)
		return -EINVAL;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -errno;
	memset(answer, 0, sizeof(*answer));
	answer->system_call = -1;
	answer->parent = getpid();
	*shared = *answer;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	child = fork();
	if (!child)
		run_child(question, seconds, shared);
	if (child < 0)
		status = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (child > 0) {
		int ended = wait_for(child, seconds * 1000000000ull);

		*answer = *shared;
		answer->signal = ended > 0 && WIFSIGNALED(ended) ? WTERMSIG(ended) : 0;
		answer->hung = ended == -ETIMEDOUT || answer->signal == SIGALRM;
	}
	munmap(shared, sizeof(*shared));
	return status;
}
