/* SPDX-License-Identifier: MIT */
/* Latencies of later writes, the cheapest design, and break-even points. */
#include "sim_price.h"

#define TIE 1e-3 /* prices no further apart are the same */
#define TAIL 0.01
#define HALF_POWERS 61 /* of later writes: from 1 to 2^30 */

/* --- how long single writes take ---------------------------------------------------------------------------------- */

/* What one touch of a shape counts, as prices are taken of. */
static void shape_counts(const struct ul_design *d, int32_t other_cpus, uint32_t code, double *ledger)
{
	uint64_t one[UL_EVENTS];

	ul_shape_ledger(d, other_cpus, code, one);
	for (int i = 0; i < UL_EVENTS; i++)
		ledger[i] = (double)one[i];
}

/* A write that finds its page unprotected asks nothing of the kernel. */
static int asks(uint32_t code)
{
	struct shape s = shape_decode(code);

	return s.write && (KIND(s.entry) != PAGE || s.entry & PROTECTED);
}

uint32_t ul_latencies(const struct ul_design *d, int32_t other_cpus, const double *counts, const double *vectors,
		      uint64_t draws, double error, double *room, struct ul_latency *found)
{
	double ledger[UL_EVENTS], everything = 0, slower = 1;
	uint32_t n = 0;

	for (uint32_t code = 0; code < SHAPES; code++) {
		struct ul_latency one = { .count = counts[code], .shape = code };
		uint32_t at = n;

		if (!(one.count > 0) || !asks(code))
			continue;
		shape_counts(d, other_cpus, code, ledger);
		ul_estimate(ledger, vectors, draws, error, room, &one.cost);
		for (; at && found[at - 1].cost.value > one.cost.value; at--)
			found[at] = found[at - 1];
		found[at] = one;
		n++;
	}
	for (uint32_t i = 0; i < n; i++)
		everything += found[i].count;
	for (uint32_t i = 0; i < n; i++) {
		found[i].share = found[i].count / everything;
		found[i].slower = slower;
		slower -= found[i].share;
	}
	return n;
}

/* The cheapest of the slowest 1 % of writes: the last shape that so many are as slow as. */
int32_t ul_tail(const struct ul_latency *found, uint32_t count)
{
	int32_t tail = -1;

	for (uint32_t i = 0; i < count; i++)
		if (found[i].slower >= TAIL)
			tail = (int32_t)i;
	return tail;
}

/* --- which design is the cheapest --------------------------------------------------------------------------------- */

struct ledgers {
	double protect[UL_EVENTS], total[UL_EVENTS], shapes[SHAPES], memory[6];
};

static int32_t expected(const struct ul_design *d, uint64_t pages, const struct ul_random *work, struct ledgers *l)
{
	int32_t error = ul_expect(d, pages, work, l->protect, l->total, l->shapes, l->memory);

	for (int i = 0; !error && i < UL_EVENTS; i++)
		l->total[i] += l->protect[i];
	return error;
}

/* Memory and a tail that are nothing count as the least there is of them, so that a ratio to them has a value. */
static double value_of(const struct ul_standing *one, int objective)
{
	double value = one->value[objective];

	if (objective == UL_TAIL_LATENCY && one->tail < 0)
		return 1;
	return objective == UL_MEMORY && value < 1 ? 1 : value;
}

static double least_of(const struct ul_standing *all, uint64_t count, int objective)
{
	double least = value_of(&all[0], objective);

	for (uint64_t i = 1; i < count; i++)
		if (value_of(&all[i], objective) < least)
			least = value_of(&all[i], objective);
	return least;
}

/* Returns whether every score has a value. */
static int score(struct ul_standing *all, uint64_t count, int objective, const double *weights)
{
	for (uint64_t i = 0; i < count; i++)
		all[i].score = objective == UL_MIX ? 0 : value_of(&all[i], objective);
	for (int one = 0; objective == UL_MIX && one < UL_MIX; one++) {
		double least = least_of(all, count, one);

		if (!(least > 0))
			return 0;
		for (uint64_t i = 0; i < count; i++)
			all[i].score += weights[one] * logarithm(value_of(&all[i], one) / least);
	}
	return 1;
}

/* The ledger that an objective is about. */
static void ledger_of(const struct ul_design *d, uint64_t pages, const struct ul_random *work, int objective,
		      int32_t tail, double *ledger)
{
	struct ledgers l;

	if (objective == UL_TAIL_LATENCY) {
		shape_counts(d, work->other_cpus, (uint32_t)tail, ledger);
		return;
	}
	expected(d, pages, work, &l);
	for (int i = 0; i < UL_EVENTS; i++)
		ledger[i] = objective == UL_STOP_TIME ? l.protect[i] : l.total[i];
}

void ul_choose(struct ul_standing *all, uint64_t count, int32_t objective, struct ul_decision *found)
{
	double reach;

	found->best = found->second = -1;
	found->ties = 0;
	found->least = all[0].score;
	for (uint64_t i = 1; i < count; i++)
		if (all[i].score < found->least)
			found->least = all[i].score;
	reach = objective == UL_MIX ? found->least + logarithm(1 + TIE) : found->least * (1 + TIE);
	for (uint64_t i = 0; i < count; i++) {
		all[i].tied = all[i].score <= reach;
		found->ties += all[i].tied;
		if (all[i].tied && found->best < 0)
			found->best = (int32_t)i;
		if (!all[i].tied && (found->second < 0 || all[i].score < all[found->second].score))
			found->second = (int32_t)i;
	}
	for (uint64_t i = 0; found->second < 0 && i < count; i++)
		if (i != (uint64_t)found->best)
			found->second = (int32_t)i;
}

int32_t ul_decide(const struct ul_design *designs, uint64_t count, uint64_t pages, const struct ul_random *work,
		  int32_t objective, const double *weights, const double *vectors, uint64_t draws, double error,
		  double *room, struct ul_standing *all, struct ul_decision *found)
{
	struct ul_latency writes[UL_ASKING];
	struct ul_estimate ends;
	double top[UL_EVENTS], bottom[UL_EVENTS];

	*found = (struct ul_decision){ .best = -1, .second = -1 };
	found->ratio.value = found->ratio.low = found->ratio.high = __builtin_nan("");
	if (count < 2 || objective < 0 || objective > UL_MIX)
		return UL_BAD;
	for (uint64_t i = 0; i < count; i++) {
		struct ledgers l;

		if (expected(&designs[i], pages, work, &l))
			return UL_BAD;
		all[i] = (struct ul_standing){ .tail = -1 };
		all[i].value[UL_STOP_TIME] = ul_price(l.protect, vectors);
		all[i].value[UL_TOTAL_WORK] = ul_price(l.total, vectors);
		all[i].value[UL_MEMORY] = 4 * ((l.memory[4] - l.memory[0]) + (l.memory[5] - l.memory[1]));
		if (objective >= UL_TAIL_LATENCY) {
			int32_t tail = ul_tail(writes, ul_latencies(&designs[i], work->other_cpus, l.shapes, vectors, 0,
								    error, room, writes));

			all[i].tail = tail < 0 ? tail : (int32_t)writes[tail].shape;
			all[i].value[UL_TAIL_LATENCY] = tail < 0 ? 0 : writes[tail].cost.value;
		}
	}
	if (!score(all, count, objective, weights))
		return UL_OK;
	ul_choose(all, count, objective, found);
	if (objective == UL_MIX)
		found->ratio.value = exponential(all[found->second].score - found->least);
	else if (found->least > 0)
		found->ratio.value = all[found->second].score / found->least;
	if ((uint64_t)found->ties == count)
		return UL_OK;
	found->clear = objective == UL_MEMORY; /* counted, and exact; a mix has no interval */
	if (objective == UL_MEMORY || objective == UL_MIX ||
	    (objective == UL_TAIL_LATENCY && (all[found->best].tail < 0 || all[found->second].tail < 0)))
		return UL_OK;
	ledger_of(&designs[found->second], pages, work, objective, all[found->second].tail, top);
	ledger_of(&designs[found->best], pages, work, objective, all[found->best].tail, bottom);
	if (!ul_ratio(top, bottom, vectors, draws, error, room, &ends)) {
		found->ratio.low = ends.low;
		found->ratio.high = ends.high;
		found->clear = ends.low > 1;
	}
	return UL_OK;
}

/* --- break-even --------------------------------------------------------------------------------------------------- */

struct plane {
	const struct ul_design *designs;
	uint64_t pages;
	struct ul_random work;
	const double *costs;
	double own[HALF_POWERS]; /* all work with the design that is held against the others */
};

/* The price of all work with so many writes, as a power of two. */
static double all_work(struct plane *p, uint64_t design, double power)
{
	struct ledgers l;

	p->work.writes = (double)(1ull << (uint64_t)power) *
			 exponential((power - (double)(uint64_t)power) * 0x1.62e42fefa39efp-1);
	ul_expect(&p->designs[design], p->pages, &p->work, l.protect, l.total, l.shapes, l.memory);
	return ul_price(l.protect, p->costs) + ul_price(l.total, p->costs);
}

/* Where between two powers a design begins, or ends, to be behind. */
static double edge(struct plane *p, uint64_t one, uint64_t other, double low, int begins)
{
	double high = low + 0.5;

	for (int i = 0; i < 16; i++) {
		double middle = (low + high) / 2;

		if ((all_work(p, one, middle) > all_work(p, other, middle) * (1 + TIE)) == begins)
			high = middle;
		else
			low = middle;
	}
	return high;
}

/* The first stretch, found by looking at every half power and halving where it begins and ends. */
static int stretch(struct plane *p, uint64_t one, uint64_t other, struct ul_break_even *found)
{
	double most = 0;
	int within = 0;

	found->to = __builtin_nan("");
	for (int i = 0; i < HALF_POWERS; i++) {
		double power = i / 2.0, work = all_work(p, other, power);
		int behind = p->own[i] > work * (1 + TIE);

		if (behind && !within)
			found->from = i ? edge(p, one, other, power - 0.5, 1) : 0;
		if (within && !behind) {
			found->to = edge(p, one, other, power - 0.5, 0);
			break;
		}
		within = behind;
		if (behind && p->own[i] / work > most) {
			most = p->own[i] / work;
			found->most = power;
		}
	}
	return most > 0;
}

int32_t ul_break_even(const struct ul_design *designs, uint64_t count, uint64_t one, uint64_t pages,
		      const struct ul_random *work, const double *vectors, uint64_t draws, double error, double *room,
		      struct ul_break_even *found)
{
	struct plane p = { .designs = designs, .pages = pages, .work = *work, .costs = vectors };
	struct ul_estimate ratio;
	double top[UL_EVENTS], bottom[UL_EVENTS];

	*found = (struct ul_break_even){ .other = -1 };
	for (uint64_t i = 0; i < count; i++)
		if (ul_design_problem(&designs[i]) || ul_work_problem(&designs[i], pages, work))
			return UL_BAD;
	for (int i = 0; i < HALF_POWERS; i++)
		p.own[i] = all_work(&p, one, i / 2.0);
	for (uint64_t i = 0; i < count; i++) {
		struct ul_break_even here = { .other = (int32_t)i };

		if (i != one && stretch(&p, one, i, &here) && (found->other < 0 || here.from < found->from))
			*found = here;
	}
	if (found->other < 0)
		return UL_OK;
	all_work(&p, one, found->most); /* so many writes */
	p.work.writes = (double)(uint64_t)(p.work.writes + 0.5);
	ledger_of(&designs[one], pages, &p.work, UL_TOTAL_WORK, -1, top);
	ledger_of(&designs[found->other], pages, &p.work, UL_TOTAL_WORK, -1, bottom);
	found->decided = !ul_ratio(top, bottom, vectors, draws, error, room, &ratio) && ratio.low > 1;
	return UL_OK;
}
