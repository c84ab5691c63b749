/* SPDX-License-Identifier: MIT */
/* The simulator's interface to Python (cffi) and pages (WASM). Plain integers and doubles only. */

/* What was counted. A touch is one read or write of a 4 KiB page; it may take several faults, or none. */
enum ul_event {
	UL_READS, /* touches, faulting or not */
	UL_WRITES,
	UL_TRAPS, /* CPU exceptions; MADV_POPULATE_READ takes none */
	UL_FAULT_EMPTY, /* completed faults, by what stood in the entry */
	UL_FAULT_MARKER,
	UL_FAULT_PROTECTED,
	UL_FAULT_ZEROPAGE, /* a write to an unprotected zeropage */
	UL_TABLES_PTE, /* tables allocated, deposited ones included */
	UL_TABLES_PMD,
	UL_TABLES_PUD,
	UL_FREED_PTE, /* tables freed; nothing frees those above, for which campaigns' costs have a column */
	UL_FREED_PMD,
	UL_FREED_PUD,
	UL_DEPOSITS, /* PTE tables deposited for a huge entry */
	UL_MARKERS_PTE, /* markers set */
	UL_MARKERS_PMD,
	UL_MARKERS_PUD,
	UL_MARKERS_CLEARED, /* by un-protecting */
	UL_SPREAD_PMD, /* a marker replaced by a table of markers */
	UL_SPREAD_PUD,
	UL_PROTECTED_ZERO, /* zeropages that protecting rewrote, as the kernel does even where they were protected */
	UL_PROTECTED_PTE, /* pages, and huge entries of either kind */
	UL_PROTECTED_PMD,
	UL_PROTECTED_PUD,
	UL_RESOLVED_ZERO, /* zeropages that un-protecting rewrote */
	UL_RESOLVED_PTE, /* pages, and huge entries of either kind */
	UL_RESOLVED_PMD,
	UL_RESOLVED_PUD,
	UL_VISITED_PTE, /* entries that a range operation looked at; empty ones only here; none that a discard zaps */
	UL_VISITED_PMD,
	UL_VISITED_PUD,
	UL_ASKED_PTE, /* empty PTEs that protecting checked for whether they get a marker */
	UL_POPULATED, /* present entries that a populating call went through */
	UL_ZEROPAGES, /* entries that a fault made map a zeropage */
	UL_HUGE_ZEROPAGES,
	UL_FILLED_ZERO, /* entries that protecting made map one */
	UL_FILLED_HUGE_ZERO,
	UL_PAGES, /* pages allocated and zeroed: 4 KiB, 2 MiB, 1 GiB */
	UL_HUGE_PAGES,
	UL_GIGANTIC_PAGES,
	UL_PAGES_COPIED, /* 4 KiB pages that an ioctl filled for a missing one */
	UL_PAGES_FREED, /* in units of 4 KiB */
	UL_ZAPPED_MARKERS, /* entries that a discard zapped: markers of any level */
	UL_ZAPPED_ZERO, /* zeropages */
	UL_ZAPPED_HUGE_ZERO,
	UL_ZAPPED_PAGES, /* pages */
	UL_ZAPPED_HUGE_PAGES, /* of THP: they go back to the buddy allocator */
	UL_ZAPPED_PMD, /* of hugetlb: they go back to its pool */
	UL_ZAPPED_PUD,
	UL_SPLIT_ZEROPAGES, /* huge entries replaced by a table of small ones */
	UL_SPLIT_PAGES,
	UL_PROTECTS, /* ioctls that protect */
	UL_RESOLVES, /* ioctls that resolve, or fill what is missing */
	UL_CALLS, /* madvise() calls, scans */
	UL_EVENTS_WP, /* messages to a handler */
	UL_EVENTS_MISSING,
	UL_LOST, /* unreported writes to entries protected since their last discard */
	UL_FALSE, /* events for entries discarded or resolved since they were protected */
	UL_FLUSHES, /* TLB flushes */
	UL_IPIS, /* flushes, for each other CPU that runs the process */
	UL_LOCK_MMAP, /* lock acquisitions: a model */
	UL_LOCK_VMA,
	UL_LOCK_PAGE_TABLE, /* page_table_lock of the mm: PUD and PMD tables are installed under it */
	UL_LOCK_PMD, /* split lock of a PMD table: PTE tables are installed under it */
	UL_LOCK_PTE, /* split lock of a PTE table */
	UL_EVENTS /* how many there are */
};

enum ul_level { UL_PTE, UL_PMD, UL_PUD, UL_LEVELS };
enum ul_prefault { UL_NO_PREFAULT, UL_READ_LOOP, UL_POPULATE_READ };
enum ul_empty { UL_EMPTY_STAYS, UL_EMPTY_MARKED, UL_EMPTY_ZEROPAGE };
enum ul_spread { UL_SPREAD_NEXT, UL_SPREAD_LAST, UL_SPREAD_HUGE };
enum ul_walk { UL_SEQUENTIAL, UL_UNIFORM, UL_ZIPF, UL_CLUSTERED };
enum ul_objective { UL_STOP_TIME, UL_TOTAL_WORK, UL_MEMORY, UL_TAIL_LATENCY, UL_MIX };
enum ul_error { UL_OK = 0, UL_NO_ROOM = -1, UL_BAD = -2 };

/* A design. All fields are 32-bit so that a page can write them one after another. */
struct ul_design {
	int32_t leaf; /* ul_level of the memory's pages: PTE, or PMD and PUD for hugetlb */
	int32_t prefault; /* ul_prefault: what user space does first */
	int32_t empty; /* ul_empty: what protecting puts into an empty entry */
	int32_t level; /* ul_level: the highest at which it does so */
	int32_t spread; /* ul_spread: what a touch under a marker above the leaf does */
	int32_t remembers; /* the VMA remembers the protection: an empty entry is protected by it */
	int32_t missing; /* registered for missing pages as well: the handler fills them */
	int32_t async; /* the kernel resolves protection faults itself, without an event */
	int32_t thp; /* faults may map huge pages */
	int32_t zeropage; /* reads may map the zeropage */
	int32_t huge_zeropage; /* and the huge one */
	int32_t deposit; /* a huge entry deposits a PTE table */
	int32_t pt_reclaim; /* a discard frees the PTE tables it empties as a whole */
	int32_t survives; /* markers survive a discard, as on shmem and hugetlb */
	int32_t resolve; /* ul_level that a handler resolves at: PTE, or PMD where the entry is huge */
};

/* A workload for expected values. */
struct ul_random {
	double populated; /* each cluster is written beforehand with this probability */
	uint64_t cluster; /* pages: a power of two up to 2^18 */
	double reads; /* touches spread uniformly, reads first, then writes */
	double writes;
	int32_t other_cpus;
	int32_t reserved;
};

/* A number with its interval; without one both ends are NaN. */
struct ul_estimate {
	double value, low, high;
};

/* Faulting writes of one shape: how many, their share of all, and the share that take as long or longer. */
enum { UL_ASKING = 512 }; /* most shapes of faulting writes */
struct ul_latency {
	double count, share, slower;
	struct ul_estimate cost;
	uint32_t shape, reserved;
};

/* A design's prices, and KiB added, by objective; the shape of its slowest writes, or -1. */
struct ul_standing {
	double value[4];
	double score;
	int32_t tail, tied;
};

/* The cheapest design, the next, and their ratio. Designs are indices; -1: none. */
struct ul_decision {
	double least; /* score */
	struct ul_estimate ratio;
	int32_t best, second, ties, clear;
};

/* Between which powers of two of later writes a design costs more than another, and where most; `to` may be NaN. */
struct ul_break_even {
	double from, to, most;
	int32_t other, decided;
};

struct ul_sim;

const char *ul_event_name(int32_t event);
/* The error in a design, a range under it, or a workload on that, as a sentence; NULL for none. */
const char *ul_design_problem(const struct ul_design *design);
const char *ul_range_problem(const struct ul_design *design, uint64_t start_page, uint64_t pages);
const char *ul_work_problem(const struct ul_design *design, uint64_t pages, const struct ul_random *work);

/* Bytes that a range needs for `touches` touches and operations on parts, wherever they fall; 0 if out of limits. */
uint64_t ul_sim_bytes(uint64_t start_page, uint64_t pages, uint64_t touches);
/* Initializes an empty range in zeroed, 8-byte aligned memory of the caller. Copying the memory copies the state. */
int32_t ul_sim_init(struct ul_sim *sim, uint64_t bytes, uint64_t start_page, uint64_t pages, int32_t other_cpus);
uint64_t ul_sim_used(const struct ul_sim *sim);

/* Operations on pages first..first+count of the range; each returns ul_error. */
int32_t ul_set_design(struct ul_sim *sim, const struct ul_design *design);
int32_t ul_populate(struct ul_sim *sim, double fraction, uint64_t cluster, uint64_t seed);
/* The same with exactly `clusters` clusters, drawn from all. */
int32_t ul_populate_exactly(struct ul_sim *sim, uint64_t clusters, uint64_t cluster, uint64_t seed);
int32_t ul_populate_bits(struct ul_sim *sim, const uint8_t *bits, uint64_t count, uint64_t pages_per_bit);
int32_t ul_prefault(struct ul_sim *sim, uint64_t first, uint64_t count);
int32_t ul_protect(struct ul_sim *sim, uint64_t first, uint64_t count);
int32_t ul_unprotect(struct ul_sim *sim, uint64_t first, uint64_t count);
int32_t ul_discard(struct ul_sim *sim, uint64_t first, uint64_t count);
int32_t ul_touch(struct ul_sim *sim, uint64_t page, int32_t write);
int32_t ul_touch_range(struct ul_sim *sim, uint64_t first, uint64_t count, int32_t write);
int32_t ul_touch_stride(struct ul_sim *sim, uint64_t stride, int32_t write);
int32_t ul_touch_many(struct ul_sim *sim, int32_t walk, uint64_t count, uint64_t cluster, uint64_t seed, int32_t write);
/* Reads pages and resolves them, `piece` (1 or 512) by one ioctl, as a snapshot's saver does; may skip empty entries. */
int32_t ul_save(struct ul_sim *sim, uint64_t first, uint64_t count, uint64_t piece, int32_t skip_holes);
/* Scans every entry. Fills states[4]: pages by entry contents: empty, marker, zeropage, page. */
int32_t ul_scan(struct ul_sim *sim, uint64_t first, uint64_t count, uint64_t *states);

/* Results. Ledgers have UL_EVENTS numbers. */
void ul_ledger(struct ul_sim *sim, uint64_t *ledger);
void ul_ledger_reset(struct ul_sim *sim); /* a new phase: counts start at zero, the state stays */
void ul_memory(const struct ul_sim *sim, uint64_t *memory); /* tables, most tables, pages, most pages (of 4 KiB) */
int32_t ul_state(const struct ul_sim *sim, uint64_t page); /* level << 8 | owed << 3 | protected << 2 | kind */
/* Touches by shape, and the ledger of one touch. */
uint32_t ul_shapes(void);
void ul_shape_counts(const struct ul_sim *sim, uint64_t *counts);
void ul_shape_ledger(const struct ul_design *design, int32_t other_cpus, uint32_t shape, uint64_t *ledger);

/* Sum of counts times costs, in the order of the events. */
double ul_price(const double *ledger, const double *costs);
/* Expected ledgers of protecting (prefault included) and of the touches after it, and expected tables and pages. */
int32_t ul_expect(const struct ul_design *design, uint64_t pages, const struct ul_random *work, double *protect,
		  double *touches, double *shape_counts, double *memory);
/*
 * The same for many workloads, priced by many vectors of costs. For each of `works`: tables and pages added, then for
 * each vector the price of protecting and the price of the touches: 2 + 2 * vectors numbers.
 */
int32_t ul_sweep(const struct ul_design *design, uint64_t pages, const struct ul_random *works, uint64_t count,
		 const double *costs, uint64_t vectors, double *priced);

/*
 * Intervals. `vectors` are the costs and after them `draws` bootstrap vectors; `error` is the error of unseen
 * predictions (the larger over the smaller, less 1; below 0: not known, no interval). `room` is the caller's, for
 * 2 + 2 * draws numbers.
 */
/* Of a quantity computed with each vector: 95 % of the draws, widened by the error to the power of `weight`. */
void ul_interval(double *values, uint64_t draws, double error, double weight, struct ul_estimate *found);
void ul_estimate(const double *ledger, const double *vectors, uint64_t draws, double error, double *room,
		 struct ul_estimate *found);
/* The error of a ratio's logarithm per unit error of each price: shared events cancel. */
double ul_apart(const double *top, const double *bottom, const double *costs);
/* UL_BAD where `bottom` is priced at 0. */
int32_t ul_ratio(const double *top, const double *bottom, const double *vectors, uint64_t draws, double error,
		 double *room, struct ul_estimate *found);
/* Fills at most UL_ASKING, cheapest first, and returns how many; then the index of the slowest 1 %, or -1. */
uint32_t ul_latencies(const struct ul_design *design, int32_t other_cpus, const double *counts, const double *vectors,
		      uint64_t draws, double error, double *room, struct ul_latency *found);
int32_t ul_tail(const struct ul_latency *found, uint32_t count);
/* Chooses by `score` alone: fills `tied`, and `best`, `second`, `ties` and `least` of the decision. */
void ul_choose(struct ul_standing *all, uint64_t count, int32_t objective, struct ul_decision *found);
/* The cheapest design; of several within 0.1 % the first. `best` is -1 where a mix has no value. */
int32_t ul_decide(const struct ul_design *designs, uint64_t count, uint64_t pages, const struct ul_random *work,
		  int32_t objective, const double *weights, const double *vectors, uint64_t draws, double error,
		  double *room, struct ul_standing *standings, struct ul_decision *found);
/* For how many later writes the total work of design `one` exceeds another's; the first such other. */
int32_t ul_break_even(const struct ul_design *designs, uint64_t count, uint64_t one, uint64_t pages,
		      const struct ul_random *work, const double *vectors, uint64_t draws, double error, double *room,
		      struct ul_break_even *found);
