/* SPDX-License-Identifier: MIT */
/*
 * The limit that random faults are held against: as many reads, one after
 * another, at random places of as much memory. Usage: random_reads BYTES
 * READS; prints the seconds that the reads took.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	uint64_t size, reads, state = 1, sum = 0;
	uint8_t *memory;
	double start;

	if (argc != 3)
		return 2;
	size = strtoull(argv[1], NULL, 10);
	reads = strtoull(argv[2], NULL, 10);
	memory = malloc(size);
	if (!memory)
		return 1;
	memset(memory, 1, size);
	start = now();
	for (uint64_t i = 0; i < reads; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull + sum;
		sum = memory[(uint64_t)(((unsigned __int128)state * size) >> 64)];
	}
	if (sum > 1)
		return 1;
	printf("%.6f\n", now() - start);
	return 0;
}
