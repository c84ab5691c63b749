/* SPDX-License-Identifier: MIT */
/* What else may hold a page: a process that was forked, and a device that reads or writes it. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

#define POLL_NS 100000
#define LIFE_S 300u		/* of a child whose parent's death is not signalled */

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#define SYS_io_uring_register 427
#endif
#define REGISTER_BUFFERS 0	/* IORING_REGISTER_BUFFERS: pins for as long as the ring lives */

struct seen {
	struct ul_page_state state;
	int result, answered;
};

/* It keeps its half of each page until it is killed, and calls nothing that takes a lock. */
static void live(uint64_t addr, uint64_t page_bytes, struct seen *seen)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGALRM, SIG_DFL);
	alarm(LIFE_S);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seen->result = ul_page_state(addr, page_bytes, &seen->state);
	__atomic_store_n(&seen->answered, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

/*
 * Fork a process that stays, and return its ID; *state is that of the page at `addr` in it. With EVENT_FORK the
 * system call waits until its event is read.
 */
int ul_fork(uint64_t addr, uint64_t page_bytes, uint64_t timeout_ns, struct ul_page_state *state)
{
	const uint64_t deadline = ul_now_ns() + timeout_ns;
	const struct timespec nap = { .tv_nsec = POLL_NS };
	struct seen *seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ret;
	pid_t pid;

	if (seen == MAP_FAILED)
		return -errno;
	pid = fork();
	if (!pid)
		live(addr, page_bytes, seen);
	ret = pid < 0 ? -errno : pid;
	while (ret > 0 && !__atomic_load_n(&seen->answered, __ATOMIC_ACQUIRE)) {
		if (ul_now_ns() > deadline) {
			kill(pid, SIGKILL);
			ret = -ETIMEDOUT;
		}
		nanosleep(&nap, NULL);
	}
	if (ret > 0) {
		*state = seen->state;
		if (seen->result)
			ret = seen->result;
	}
	munmap(seen, sizeof(*seen));
	return ret;
}

/* As a device's driver does, by io_uring: pin_user_pages(FOLL_LONGTERM | FOLL_WRITE). */
int ul_pin(uint64_t addr, uint64_t len)
{
	uint32_t params[30] = { 0 };	/* struct io_uring_params: 120 bytes */
	struct iovec whole = { (void *)(uintptr_t)addr, len };
	int fd, ret;

	fd = (int)syscall(SYS_io_uring_setup, 1, params);
	if (fd < 0)
		return -errno;
	if (!syscall(SYS_io_uring_register, fd, REGISTER_BUFFERS, &whole, 1))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}
