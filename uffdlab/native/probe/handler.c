/* SPDX-License-Identifier: MIT */
/*
 * The event handler is a C thread: a Python handler would need the interpreter
 * lock that a Python reader of the faulting page holds while it waits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"
#include "uapi.h"

struct ul_handler {
	pthread_t thread;
	int fd, stop_fd;
	uint64_t page_bytes, deadline_ns;
	void *zeros;			/* page_bytes that read as zero, mapped for the first hole */
	uint64_t seen_addr;		/* where seen[0] begins */
	uint8_t *seen;			/* a byte for every page that raised an event, or NULL */
	struct ul_handler_stats stats;
};

static int wake(int fd, uint64_t addr, uint64_t len)
{
	struct ul_uffdio_range range = { addr, len };

	return ioctl(fd, UL_UFFDIO_WAKE, &range) ? -errno : 0;
}

/*
 * A hole that was read is filled with zeros and protected in the same step: filled
 * with UFFDIO_ZEROPAGE it would be writable, and a later write unreported.
 * A hole that was written needs no protection: this event is its report. Zeros are
 * mapped in advance, because a fault while copying to hugetlb makes the kernel take a
 * second huge page.
 */
static int fill_hole(struct ul_handler *h, uint64_t page, int written)
{
	struct ul_uffdio_copy copy = {
		.dst = page, .len = h->page_bytes, .mode = written ? 0 : UL_COPY_MODE_WP,
	};

	if (h->zeros == MAP_FAILED)
		h->zeros = mmap(NULL, h->page_bytes, PROT_READ,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE, -1, 0);
	if (h->zeros == MAP_FAILED)
		return -errno;
	copy.src = (uint64_t)(uintptr_t)h->zeros;
	if (!ioctl(h->fd, UL_UFFDIO_COPY, &copy))
		return 0;
	/* Another thread filled it: wake, let it retry. */
	return errno == EEXIST ? wake(h->fd, page, h->page_bytes) : -errno;
}

static void resolve(struct ul_handler *h, const struct ul_uffd_msg *msg)
{
	uint64_t page = msg->fault_address & ~(h->page_bytes - 1);
	uint64_t ns;
	int ret;

	if (msg->event != UL_EVENT_PAGEFAULT) {
		/* Reading it is all that a fork, a move or a discard waits for. The descriptor that a fork brings stays open. */
		h->stats.other++;
		return;
	}
	/* Before resolving: the thread that waits for the page then finds its event noted. */
	if (h->seen)
		h->seen[(page - h->seen_addr) / h->page_bytes] = 1;
	if (msg->fault_flags & UL_PAGEFAULT_FLAG_WP) {
		h->stats.wp++;
		ret = ul_write_protect(h->fd, page, h->page_bytes, 0, &ns);
	} else if (msg->fault_flags & UL_PAGEFAULT_FLAG_MINOR) {
		h->stats.minor++;
		ret = wake(h->fd, page, h->page_bytes);
	} else {
		h->stats.missing++;
		ret = fill_hole(h, page, !!(msg->fault_flags & UL_PAGEFAULT_FLAG_WRITE));
	}
	if (ret) {
		h->stats.failed++;
		h->stats.last_errno = -ret;
		h->stats.last_missing = !(msg->fault_flags & UL_PAGEFAULT_FLAG_WP);
	}
}

static void drain(struct ul_handler *h)
{
	struct ul_uffd_msg msgs[64];
	ssize_t got;

	while (ul_now_ns() < h->deadline_ns && (got = read(h->fd, msgs, sizeof(msgs))) > 0)
		for (size_t i = 0; i < (size_t)got / sizeof(msgs[0]); i++)
			resolve(h, &msgs[i]);
}

static void serve(struct ul_handler *h)
{
	struct pollfd fds[2] = {
		{ .fd = h->fd, .events = POLLIN },
		{ .fd = h->stop_fd, .events = POLLIN },
	};

	for (;;) {
		uint64_t now = ul_now_ns();

		if (now >= h->deadline_ns) {
			/* Closing releases every waiter: nothing stays stuck. */
			h->stats.deadline_hit = 1;
			close(h->fd);
			return;
		}
		if (poll(fds, 2, (int)((h->deadline_ns - now) / 1000000) + 1) < 0) {
			if (errno != EINTR)
				h->deadline_ns = 0;
			continue;
		}
		if (fds[0].revents & POLLIN)
			drain(h);
		if (fds[1].revents & POLLIN)
			return;
		if (fds[0].revents & (POLLERR | POLLHUP | POLLNVAL))
			h->deadline_ns = 0;	/* nothing can be resolved any more: release the waiters */
	}
}

static void *handle(void *arg)
{
	struct ul_handler *h = arg;

	serve(h);
	h->stats.cpu_ns = ul_thread_cpu_ns();
	return NULL;
}

/*
 * Notes in `seen`, unless NULL, which pages of the range at `addr` raised an event. NULL, and errno, when no
 * descriptor, memory or thread is available.
 */
struct ul_handler *ul_handler_start(int fd, uint64_t page_bytes, uint64_t timeout_ns, uint64_t addr, uint8_t *seen)
{
	struct ul_handler *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return NULL;
	h->fd = fd;
	h->page_bytes = page_bytes;
	h->seen_addr = addr;
	h->seen = seen;
	h->deadline_ns = ul_now_ns() + timeout_ns;
	h->zeros = MAP_FAILED;
	h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = errno;
	if (h->stop_fd < 0)
		goto free_handler;
	ret = pthread_create(&h->thread, NULL, handle, h);
	if (ret)
		goto close_stop;
	return h;

close_stop:
	close(h->stop_fd);
free_handler:
	free(h);
	errno = ret;
	return NULL;
}

int ul_handler_stop(struct ul_handler *h, struct ul_handler_stats *stats)
{
	const uint64_t one = 1;
	int ret = 0;

	if (write(h->stop_fd, &one, sizeof(one)) != sizeof(one))
		ret = -errno;
	else
		ret = -pthread_join(h->thread, NULL);
	if (ret)
		return ret;	/* the thread may still run: leak rather than free under it */
	*stats = h->stats;
	close(h->stop_fd);
	if (h->zeros != MAP_FAILED)
		munmap(h->zeros, h->page_bytes);
	free(h);
	return 0;
}
