/* SPDX-License-Identifier: MIT */
/*
 * The least a program can do to time one UFFDIO_WRITEPROTECT over untouched
 * memory with markers: no Python, no counters, nothing of the package.
 * Usage: bare_protect BYTES; for each line it reads, takes one sample and
 * prints its time in ns.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct api { uint64_t api, features, ioctls; };
struct reg { uint64_t start, len, mode, ioctls; };
struct wp { uint64_t start, len, mode; };

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static uint64_t sample(uint64_t len)
{
	const uint64_t align = 2 << 20;
	struct api api = { .api = 0xAA, .features = 1 << 13 };
	uint64_t base, addr, start, end;
	void *map;
	int fd;

	map = mmap(NULL, len + align, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(map != MAP_FAILED, "mmap");
	base = (uint64_t)(uintptr_t)map;
	addr = (base + align - 1) & ~(align - 1);
	must(!madvise(map, len + align, MADV_NOHUGEPAGE), "MADV_NOHUGEPAGE");
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
	must(fd >= 0, "userfaultfd");
	must(!ioctl(fd, _IOWR(0xAA, 0x3F, struct api), &api), "UFFDIO_API");
	struct reg reg = { addr, len, 2, 0 };
	must(!ioctl(fd, _IOWR(0xAA, 0x00, struct reg), &reg), "UFFDIO_REGISTER");
	struct wp wp = { addr, len, 1 };

	start = now();
	must(!ioctl(fd, _IOWR(0xAA, 0x06, struct wp), &wp), "UFFDIO_WRITEPROTECT");
	end = now();

	close(fd);
	munmap(map, len + align);
	return end - start;
}

int main(int argc, char **argv)
{
	char line[16];

	if (argc != 2)
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		printf("%llu\n", (unsigned long long)sample(strtoull(argv[1], NULL, 10)));
		fflush(stdout);
	}
	return 0;
}
