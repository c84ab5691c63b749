/* SPDX-License-Identifier: MIT */
/*
 * The extension's interface to Python: read by cffi and included by probe.h, so
 * the two cannot differ. Functions return 0 (or as noted) on success
 * and -errno on failure. Times are CLOCK_MONOTONIC nanoseconds, sizes bytes.
 */

/* clock.c */
uint64_t ul_now_ns(void);
uint64_t ul_cycles(void);		/* 0 where there is no user-readable counter */
const char *ul_compiler(void);

/* uffd.c: one ioctl each; *ns is the time of the system call alone */
enum { UL_VIA_DEVICE = 1, UL_VIA_SYSCALL = 2, UL_VIA_SYSCALL_USER_ONLY = 3 };
int ul_uffd_open(int kernel, int *via);
int ul_uffd_api(int fd, uint64_t wanted, uint64_t *granted, uint64_t *ioctls);
int ul_register(int fd, uint64_t addr, uint64_t len, uint64_t mode, uint64_t *ioctls, uint64_t *ns);
int ul_write_protect(int fd, uint64_t addr, uint64_t len, int protect, uint64_t *ns);
int ul_unprotect_pieces(int fd, uint64_t addr, uint64_t len, uint64_t stride, uint64_t piece, uint64_t *ns,
			uint64_t *calls);
/* One page or more by UFFDIO_ZEROPAGE, _COPY (of zeros, protected or not), _MOVE (of a page of ours) or _POISON. */
enum { UL_FILL_ZEROPAGE = 0, UL_FILL_COPY = 1, UL_FILL_COPY_WP = 2, UL_FILL_MOVE = 3, UL_FILL_POISON = 4 };
int ul_fill(int fd, int how, uint64_t addr, uint64_t len);
int ul_close(int fd);

/* handler.c: a thread that counts events and resolves each with one page */
struct ul_handler_stats {
	uint64_t wp, missing, minor, other;
	uint64_t cpu_ns;		/* CPU time of the thread */
	uint64_t failed;		/* events that could not be resolved */
	int last_errno;			/* of the last failure, positive */
	int last_missing;		/* whether that was UFFDIO_COPY for a hole, not UFFDIO_WRITEPROTECT */
	int deadline_hit;		/* the userfaultfd was closed, and every waiter released */
};
struct ul_handler;
struct ul_handler *ul_handler_start(int fd, uint64_t page_bytes, uint64_t timeout_ns, uint64_t addr, uint8_t *seen);
int ul_handler_stop(struct ul_handler *handler, struct ul_handler_stats *stats);

/* map.c */
enum {
	UL_MAP_ANON = 0, UL_MAP_ANON_THP = 1, UL_MAP_SHMEM = 2,
	UL_MAP_HUGETLB_PRIVATE = 3, UL_MAP_HUGETLB_SHARED = 4,
	UL_MAP_PLAIN = 5		/* private anonymous without advice: THP as the whole system has it */
};
int ul_map(int kind, uint64_t len, uint64_t page_bytes, uint64_t *addr, int *advised);
int ul_map_file(int fd, int shared, uint64_t len, uint64_t *addr, int *advised);
int ul_unmap(uint64_t addr, uint64_t len);
int ul_discard(uint64_t addr, uint64_t len, uint64_t piece, uint64_t *ns);
int ul_advise(uint64_t addr, uint64_t len, int advice, uint64_t *ns);
int ul_lock(uint64_t addr, uint64_t len);
int ul_remap(uint64_t *addr, uint64_t len, uint64_t align);	/* *addr: from where, and to where */

/* touch.c: a fault that raises SIGBUS ends the touching with -EFAULT, one that raises SIGSEGV with -EACCES */
#define UL_BINS 256			/* four per octave of nanoseconds; see ul_bin() */
int ul_touch_every(uint64_t addr, uint64_t len, uint64_t stride, int write, uint64_t *ns,
		   uint64_t sample_every, uint64_t *bins);
int ul_touch_list(uint64_t addr, const uint64_t *offsets, uint64_t count, int write, uint64_t *ns);
int ul_touch_counted(uint64_t addr, int write, uint64_t *faults);
int ul_write_list_timed(uint64_t addr, const uint64_t *offsets, uint64_t count, uint32_t *ns);
int ul_touch_some(uint64_t addr, uint64_t len, uint64_t stride, uint64_t run, uint64_t wanted,
		  uint64_t seed);
unsigned int ul_bin(uint64_t ns);

/* threads.c: the same by several threads; hugetlb without pages in its pool ends the process with SIGBUS */
#define UL_THREADS 16
struct ul_touching {
	uint64_t addr, len, stride, sample_every;
	uint64_t wait_ns;		/* instead of touching, spin for so long; 0: touch */
	int write, threads, together, pinned;
	int cpus[UL_THREADS];
};
struct ul_touched {
	int pinned;			/* when it failed: whether that was pinning, not starting a thread */
	uint64_t touches, wall_ns, busy_ns;	/* busy: summed over threads */
	uint64_t bins[UL_BINS];
};
int ul_touch_threads(const struct ul_touching *job, struct ul_touched *sum);

/* scale.c: steps by several threads, each pinned to a CPU, with what the kernel tells of each */
enum { UL_STEP_READ = 0, UL_STEP_WRITE = 1, UL_STEP_PROTECT = 2 };
struct ul_part {			/* of one thread: `runs` runs of `steps` steps, which are `step` bytes apart */
	uint64_t addr, runs, run_step, steps, step;
};
struct ul_scaling {
	uint64_t piece;			/* bytes that one UFFDIO_WRITEPROTECT covers */
	int64_t tracepoint;		/* lock:contention_begin; negative: do not ask it */
	int what, fd, threads;
	int cpus[UL_THREADS];
	struct ul_part parts[UL_THREADS];
};
struct ul_scaled {
	uint64_t begin_ns, end_ns;	/* after the common start */
	uint64_t cpu_ns, system_us;
	uint64_t minor_faults, voluntary, involuntary;
	int64_t spin_waits, semaphore_waits;	/* contended spinlocks and semaphores; -1: not told */
};
enum { UL_SCALE_STARTING = 0, UL_SCALE_PINNING = 1, UL_SCALE_STEPPING = 2 };
int ul_scale(const struct ul_scaling *job, struct ul_scaled *out, int *when);	/* when: it failed, if it did */

/* pagemap.c */
struct ul_page_state {
	uint64_t pagemap;		/* the raw /proc/self/pagemap entry */
	uint64_t categories;		/* PAGEMAP_SCAN categories */
	int scan_errno;			/* why categories is unknown; 0 when it is known */
};
int ul_page_state(uint64_t addr, uint64_t page_bytes, struct ul_page_state *state);
int ul_page_states(uint64_t addr, uint64_t len, uint64_t *pagemap, uint64_t *categories, int *scan_errno);
int ul_count_pages(uint64_t addr, uint64_t len, uint64_t category, uint64_t *pages);
int ul_pagemap_scan_supported(void);	/* 1, or -errno: -ENOTTY where the kernel has none */

/* share.c: what else may hold a page: a process that was forked, and a device that reads or writes it */
int ul_fork(uint64_t addr, uint64_t page_bytes, uint64_t timeout_ns, struct ul_page_state *state);
int ul_pin(uint64_t addr, uint64_t len);	/* the descriptor that holds it */

/* race.c: threads that discard and write random pages until they are stopped */
enum { UL_RACE_LEAD = 0, UL_RACE_PREPARING = 1, UL_RACE_PROTECTING = 2, UL_RACE_PROTECTED = 3, UL_RACE_PHASES = 4 };
/* A page's last discard ended before the ioctl began, while it ran, or after it returned. */
enum { UL_DISCARD_NONE = 0, UL_DISCARD_BEFORE = 1, UL_DISCARD_DURING = 2, UL_DISCARD_AFTER = 3 };
struct ul_race_plan {
	uint64_t addr, pages, page_bytes;
	uint64_t pause_ns;		/* after every discard and every few writes, once the lead is over */
	uint64_t seed;
	uint8_t *discarded;		/* per page, outside the range: UL_DISCARD_* */
};
struct ul_race_stats {
	uint64_t discards[UL_RACE_PHASES];	/* pages discarded, by the phase in which that ended */
	uint64_t writes;
	int discard_error, write_error;	/* positive: why a thread gave up */
};
struct ul_race;
struct ul_race *ul_race_start(const struct ul_race_plan *plan);
int ul_race_lead(struct ul_race *race, uint64_t discards, uint64_t timeout_ns);
void ul_race_enter(struct ul_race *race, int phase);
void ul_race_stop(struct ul_race *race, struct ul_race_stats *stats);

/* channel.c: flush+reload between two processes of our own, in slots of the time stamp counter */
#define UL_CHANNEL_LINES 128
#define UL_CHANNEL_WORDS 2			/* of 64 bits, for as many lines */
struct ul_channel {
	uint64_t addr;			/* of line 0 */
	uint64_t step;			/* bytes from one line to the next */
	uint64_t advance;		/* bytes from one load to the next: 0, or a page, so that each is its page's first */
	uint64_t loads;			/* so far */
	uint64_t room;			/* with an advance: so many loads have a page, besides the first, which is read already */
	uint64_t start, slot;		/* cycles: when slot 0 begins, and how long each is */
	uint64_t turn;			/* cycles into a slot: when the sender is through, and the receiver's turn begins */
	uint32_t slots, lines;		/* lines: a bit each per slot */
	uint8_t order[128];		/* in which lines are visited: each once */
	int yield_;			/* both run on one CPU: waiting lets the other one run */
};
int ul_channel_supported(void);		/* 0, or -EOPNOTSUPP */
int ul_channel_calibrate(struct ul_channel *c, uint32_t rounds, uint16_t *hits, uint16_t *misses);
int ul_channel_probe_cycles(struct ul_channel *c, uint32_t rounds, int there, uint64_t *cycles);
int ul_channel_send(struct ul_channel *c, const uint64_t *bits, uint64_t *late);
int ul_channel_receive(struct ul_channel *c, uint16_t *cycles, uint8_t *late);
int ul_channel_disturb(uint64_t addr, uint64_t len, uint64_t step, int write, uint64_t ns);

/* merge.c: pages that KSM may merge, and what they hold */
int ul_fill_pages(uint64_t addr, uint64_t page_bytes, const uint64_t *seeds, uint64_t count);
int ul_copy_page(uint64_t from, uint64_t to, uint64_t page_bytes, uint64_t count);

/* track.c: which pages were written since they were last protected */
void ul_choose_runs(uint64_t runs, uint64_t wanted, uint64_t run_bytes, uint64_t step, uint64_t seed,
		    uint64_t *offsets);
struct ul_scan_result { uint64_t ns, calls, regions, pages; };
int ul_scan_written(uint64_t addr, uint64_t len, struct ul_scan_result *result, uint8_t *written);
int ul_protect_list(int fd, uint64_t addr, const uint64_t *offsets, uint64_t count, uint64_t len,
		    uint64_t *ns);

/* watch.c: the same without userfaultfd */
struct ul_watch_stats {
	uint64_t faults;
	int gave_up;			/* no more mappings were to be had: every page counts as written */
};
int ul_watch_begin(uint64_t addr, uint64_t len, uint64_t page_bytes, uint8_t *seen, uint64_t *ns);
int ul_watch_again(uint64_t *ns);
int ul_watch_end(struct ul_watch_stats *stats);
int ul_soft_dirty_clear(uint64_t *ns);
int ul_soft_dirty_read(uint64_t addr, uint64_t len, uint64_t page_bytes, uint8_t *written, uint64_t *ns);
int ul_choose_zipf(uint64_t pages, uint64_t count, uint64_t page_bytes, uint64_t seed, uint64_t *offsets);

/* counters.c */
struct ul_counters {
	int64_t vm_pte_kib, vm_rss_kib, rss_anon_kib, rss_shmem_kib, hugetlb_kib;	/* -1: not reported */
	int64_t minor_faults, major_faults;
	int64_t tlb_ipis;		/* all CPUs, whole machine, since boot; -1: not reported */
};
int ul_counters(struct ul_counters *now);
int ul_die_with_parent(int parent);

/* ask.c: operations tried in a child process, which a seccomp filter may kill */
enum {
	UL_ASK_USERFAULTFD = 0, UL_ASK_PROTECT = 1, UL_ASK_PAGEMAP_SCAN = 2, UL_ASK_POPULATE_READ = 3,
	UL_ASK_PT_RECLAIM = 4, UL_ASK_DIE_WITH_PARENT = 5, UL_ASK_PINNED_THREAD = 6,
	UL_ASK_SOFT_DIRTY = 7,
	UL_QUESTIONS = 8
};
struct ul_answer {
	int64_t result;			/* as of the ask_ function; -errno when refused */
	uint64_t features, ioctls;	/* of UFFDIO_API */
	int via;			/* UL_VIA_* */
	int step;			/* the question's last operation that was tried, from 0 */
	int answered;			/* 0: the child ended without a result */
	int signal;			/* that killed it; 0: none */
	int hung;
	int system_call;		/* number of the trapped one; -1: not known */
	int parent;
};
int ul_ask(int question, unsigned int seconds, struct ul_answer *answer);

/*
 * occupancy.c: page states of a mapping of any process, from /proc/PID/pagemap opened
 * by the caller. One struct ul_occupancy takes adjoining ranges of one mapping, and is
 * emptied before the next mapping.
 */
enum {
	UL_UNTOUCHED = 0, UL_ZEROPAGE = 1, UL_PRESENT = 2, UL_MARKED = 3, UL_SWAPPED = 4, UL_GUARD = 5,
	UL_FILE = 6, UL_SPECIAL = 7, UL_PAGE_STATES = 8
};
struct ul_units {
	uint64_t bytes;			/* length and alignment of a unit */
	uint64_t whole[UL_PAGE_STATES];	/* units in which every page is in that state */
	uint64_t mixed;			/* units whose pages are in several states ... */
	uint64_t blank;			/* ... of these, with untouched pages and zeropages only */
	unsigned int seen;		/* states seen in the unit under way, as bits */
	int clipped;			/* the mapping begins inside the unit under way */
};
struct ul_occupancy {
	int kpageflags;			/* in: /proc/kpageflags, or negative */
	int want_runs;			/* in: keep runs */
	int cow;			/* in: a private mapping: a page of a file is not its own */
	int of_file;			/* in: a private mapping of a file that is neither shmem nor hugetlb */
	int may_swap;			/* in: pages may be swapped */
	uint64_t hugetlb;		/* in: bytes of its huge pages; 0: no hugetlb */
	uint64_t pages[UL_PAGE_STATES];	/* base pages */
	struct ul_units units[2];
	uint64_t huge_bytes, huge_zero_bytes;	/* mapped by one entry above the last level */
	uint64_t poisoned;		/* of the special pages, those known to raise SIGBUS */
	uint64_t calls;			/* system calls made */
	uint64_t ns;
	int frames_hidden;		/* pagemap hid PFNs: zeropages and huge mappings are unknown */
	int types_hidden;		/* it hid swap types: swapped, marked and special are decided by flag bits */
	uint64_t *runs;			/* base pages << 2 | state, in order, as keep_run() folds the states */
	uint64_t run_count, run_room;
	void *buffer;
};
struct ul_occupancy *ul_occupancy_new(uint64_t large_bytes, uint64_t huge_bytes);
void ul_occupancy_empty(struct ul_occupancy *o);	/* fields marked "in" stay */
void ul_occupancy_free(struct ul_occupancy *o);
int64_t ul_occupancy_categories(int pagemap);	/* that PAGEMAP_SCAN reports here; -ENOTTY without it */
int ul_occupancy_scan(struct ul_occupancy *o, int pagemap, uint64_t categories, uint64_t start, uint64_t end);
int ul_occupancy_read(struct ul_occupancy *o, int pagemap, uint64_t start, uint64_t end);
int64_t ul_filesystem(const char *path, uint64_t *block_bytes);	/* the magic number of statfs(2) */
