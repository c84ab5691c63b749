/* SPDX-License-Identifier: MIT */
/* One function per userfaultfd operation; the time of the system call alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe.h"
#include "uapi.h"

static int open_device(int flags)
{
	int dev, fd;

	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -errno;
	fd = ioctl(dev, UL_USERFAULTFD_IOC_NEW, flags);
	if (fd < 0)
		fd = -errno;
	close(dev);
	return fd;
}

static int open_syscall(int flags)
{
	int fd = (int)syscall(SYS_userfaultfd, flags);

	return fd < 0 ? -errno : fd;
}

/*
 * The device first (since 6.1: file permissions decide), then the system call,
 * whatever errno the device gives. UFFD_USER_MODE_ONLY came with 5.11; older kernels
 * answer EINVAL. With `kernel`, the kernel's own faults raise events as well, for whom that is permitted.
 */
int ul_uffd_open(int kernel, int *via)
{
	const int base = O_CLOEXEC | O_NONBLOCK;
	const int flags = base | (kernel ? 0 : UL_UFFD_USER_MODE_ONLY);
	int fd;

	*via = UL_VIA_DEVICE;
	fd = open_device(flags);
	if (fd == -EINVAL)
		fd = open_device(base);
	if (fd >= 0)
		return fd;

	*via = kernel ? UL_VIA_SYSCALL : UL_VIA_SYSCALL_USER_ONLY;
	fd = open_syscall(flags);
	if (fd == -EINVAL) {
		*via = UL_VIA_SYSCALL;
		fd = open_syscall(base);
	}
	return fd;
}

int ul_uffd_api(int fd, uint64_t wanted, uint64_t *granted, uint64_t *ioctls)
{
	struct ul_uffdio_api api = { .api = UL_UFFD_API, .features = wanted };

	if (ioctl(fd, UL_UFFDIO_API, &api))
		return -errno;
	*granted = api.features;
	*ioctls = api.ioctls;
	return 0;
}

static int timed_ioctl(int fd, unsigned long request, void *arg, uint64_t *ns)
{
	uint64_t start = ul_now_ns();
	int ret = ioctl(fd, request, arg);

	*ns = ul_now_ns() - start;
	return ret ? -errno : 0;
}

int ul_register(int fd, uint64_t addr, uint64_t len, uint64_t mode, uint64_t *ioctls, uint64_t *ns)
{
	struct ul_uffdio_register reg = { .range = { addr, len }, .mode = mode };
	int ret = timed_ioctl(fd, UL_UFFDIO_REGISTER, &reg, ns);

	*ioctls = reg.ioctls;
	return ret;
}

int ul_write_protect(int fd, uint64_t addr, uint64_t len, int protect, uint64_t *ns)
{
	struct ul_uffdio_writeprotect wp = {
		.range = { addr, len },
		.mode = protect ? UL_WRITEPROTECT_MODE_WP : 0,
	};

	return timed_ioctl(fd, UL_UFFDIO_WRITEPROTECT, &wp, ns);
}

/* Un-protect `piece` bytes at every `stride`, one ioctl each, as a handler does. */
int ul_unprotect_pieces(int fd, uint64_t addr, uint64_t len, uint64_t stride, uint64_t piece, uint64_t *ns,
			uint64_t *calls)
{
	struct ul_uffdio_writeprotect wp = { .range = { .len = piece } };
	uint64_t start;

	if (!stride || !piece || piece > stride)
		return -EINVAL;
	*calls = 0;
	start = ul_now_ns();
	for (uint64_t at = 0; at + piece <= len; at += stride, ++*calls) {
		wp.range.start = addr + at;
		if (ioctl(fd, UL_UFFDIO_WRITEPROTECT, &wp))
			return -errno;
	}
	*ns = ul_now_ns() - start;
	return 0;
}

int ul_fill(int fd, int how, uint64_t addr, uint64_t len)
{
	struct ul_uffdio_zeropage zeropage = { .range = { addr, len } };
	struct ul_uffdio_poison poison = { .range = { addr, len } };
	struct ul_uffdio_copy copy = { .dst = addr, .len = len, .mode = how == UL_FILL_COPY_WP ? UL_COPY_MODE_WP : 0 };
	struct ul_uffdio_move move = { .dst = addr, .len = len };
	const int moves = how == UL_FILL_MOVE;
	void *source;
	int ret;

	if (how == UL_FILL_ZEROPAGE)
		return ioctl(fd, UL_UFFDIO_ZEROPAGE, &zeropage) ? -errno : 0;
	if (how == UL_FILL_POISON)
		return ioctl(fd, UL_UFFDIO_POISON, &poison) ? -errno : 0;
	/* Pages to copy are mapped before: see handler.c. A page to move has to be one of its own. */
	source = mmap(NULL, len, moves ? PROT_READ | PROT_WRITE : PROT_READ,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (moves ? 0 : MAP_POPULATE), -1, 0);
	if (source == MAP_FAILED)
		return -errno;
	copy.src = move.src = (uint64_t)(uintptr_t)source;
	if (moves) {
		madvise(source, len, MADV_NOHUGEPAGE);
		memset(source, 0, len);
		ret = ioctl(fd, UL_UFFDIO_MOVE, &move) ? -errno : 0;
	} else {
		ret = ioctl(fd, UL_UFFDIO_COPY, &copy) ? -errno : 0;
	}
	munmap(source, len);
	return ret;
}

int ul_close(int fd)
{
	return close(fd) ? -errno : 0;
}
