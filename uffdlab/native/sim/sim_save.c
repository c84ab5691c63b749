/* SPDX-License-Identifier: MIT */
/* Saving a range for a snapshot, and scanning it. */
#include "sim_state.h"

/* --- saving ------------------------------------------------------------------------------------------------------- */

/* What happens to a slot that is saved as a whole: read, and resolved in pieces. */
static void save_uniform(struct ul_sim *sim, uint32_t *slot, int level, uint64_t page, uint64_t piece)
{
	uint64_t leaf = pages_of(sim->design.leaf), count = pages_of(level) / (piece > leaf ? piece : leaf), locks;
	int huge;

	touch_range(sim, page, page + pages_of(level), 0);
	huge = level - DEPTH(*slot) == UL_PMD && sim->design.leaf == UL_PTE;
	if (huge && piece < PMD_PAGES) {
		split_huge(sim, KIND(*slot), entries(level - UL_PMD));
		*slot = UNIFORM(*slot & ENTRY, level);
	}
	locks = sim->ledger[UL_LOCK_PTE];
	*slot = unprotect_slot(sim, *slot, level);
	sim->ledger[UL_LOCK_PTE] = locks + (level > DEPTH(*slot) ? 0 : count);
	sim->ledger[UL_RESOLVES] += count;
	sim->ledger[UL_LOCK_MMAP] += count;
}

/* Whether the handler of an event, or a pass before, has saved it, or there is nothing to save. */
static int is_saved(uint32_t entry, int skip_holes)
{
	int hole = KIND(entry) == EMPTY || KIND(entry) == MARKER;

	return !(entry & (PROTECTED | OWED)) || (skip_holes && hole);
}

/* Read what is owed of a piece, and resolve it by one ioctl if there was anything. */
static int save_piece(struct ul_sim *sim, struct part piece, int skip_holes)
{
	int owed = 0, error = UL_OK;

	for (uint64_t page = piece.first; !error && page < piece.end; page += pages_of(sim->design.leaf)) {
		if (is_saved((uint32_t)ul_state(sim, page - sim->start), skip_holes))
			continue;
		owed = 1;
		error = touch(sim, page, 0);
	}
	if (error || !owed)
		return error;
	sim->ledger[UL_RESOLVES] += 1;
	sim->ledger[UL_LOCK_MMAP] += 1;
	return walk_range(sim, UNPROTECT, piece);
}

static int level_of(uint64_t pages)
{
	return pages == 1 ? UL_PTE : pages == PMD_PAGES ? UL_PMD : UL_PUD;
}

int32_t ul_save(struct ul_sim *sim, uint64_t first, uint64_t count, uint64_t piece, int32_t skip_holes)
{
	uint64_t page = sim->start + first, end = page + count, leaf = pages_of(sim->design.leaf);
	int error = UL_OK;

	if (!aligned(sim, first, count) || (piece != 1 && piece != PMD_PAGES))
		return UL_BAD;
	if (piece < leaf)
		piece = leaf;
	while (!error && page < end) {
		struct part part = { page, end };
		uint32_t *slot = pud_entry(sim, page);
		int level = UL_PUD;

		if (*slot & WRITTEN_OUT && !(*slot & BOOKS_ONLY)) {
			slot = &pmd_entries(sim, *slot)[page / PMD_PAGES % PTRS];
			level = UL_PMD;
		}
		part = below(part, page / pages_of(level) * pages_of(level), level);
		if (*slot & WRITTEN_OUT || !is_whole(part, level)) {
			part = below((struct part){ page, end }, page / piece * piece, level_of(piece));
			error = save_piece(sim, part, skip_holes);
		} else if (!is_saved(*slot, skip_holes)) {
			save_uniform(sim, slot, level, page, piece);
		}
		page = part.end;
	}
	return error;
}

/* --- scanning ----------------------------------------------------------------------------------------------------- */

static void scan_slot(struct ul_sim *sim, uint32_t slot, int level, struct part part, uint64_t *states)
{
	uint64_t step = pages_of(level - 1);

	if (!(slot & WRITTEN_OUT) || slot & BOOKS_ONLY) {
		int found = slot & BOOKS_ONLY ? level : level - DEPTH(slot);
		uint64_t first = part.first / pages_of(found), last = (part.end - 1) / pages_of(found);
		uint32_t kind = slot & BOOKS_ONLY ? EMPTY : KIND(slot);

		if (kind != EMPTY || found == UL_PTE)
			sim->ledger[UL_VISITED_PTE + found] += last - first + 1;
		states[kind] += part.end - part.first;
		return;
	}
	for (uint64_t page = part.first / step * step; page < part.end; page += step) {
		if (level == UL_PUD) {
			scan_slot(sim, pmd_entries(sim, slot)[page / PMD_PAGES % PTRS], UL_PMD, below(part, page, UL_PMD),
				  states);
		} else {
			states[KIND(pte_entries(sim, slot)[page % PTRS])] += 1;
			sim->ledger[UL_VISITED_PTE] += 1;
		}
	}
}

static void scan_part(struct ul_sim *sim, struct part part, uint64_t *states)
{
	for (int kind = 0; kind < 4; kind++)
		states[kind] = 0;
	for (uint64_t page = part.first / PUD_PAGES * PUD_PAGES; page < part.end; page += PUD_PAGES)
		scan_slot(sim, *pud_entry(sim, page), UL_PUD, below(part, page, UL_PUD), states);
}

/* How many entries of any level a part has. */
uint64_t count_entries(struct ul_sim *sim, struct part part)
{
	uint64_t visited[UL_LEVELS], states[4], count = 0;

	for (int level = UL_PTE; level < UL_LEVELS; level++)
		visited[level] = sim->ledger[UL_VISITED_PTE + level];
	scan_part(sim, part, states);
	for (int level = UL_PTE; level < UL_LEVELS; level++) {
		count += sim->ledger[UL_VISITED_PTE + level] - visited[level];
		sim->ledger[UL_VISITED_PTE + level] = visited[level];
	}
	return count;
}

int32_t ul_scan(struct ul_sim *sim, uint64_t first, uint64_t count, uint64_t *states)
{
	struct part part = { sim->start + first, sim->start + first + count };

	if (!aligned(sim, first, count))
		return UL_BAD;
	sim->ledger[UL_CALLS] += 1;
	sim->ledger[UL_LOCK_MMAP] += 1;
	scan_part(sim, part, states);
	return UL_OK;
}
