/* SPDX-License-Identifier: MIT */
/* Prices of ledgers: by one vector of costs or many, with an interval, and as a ratio of two. */
#include "sim_price.h"

#define LOW 0.025 /* an interval is what 95 % of the draws stay within */
#define HIGH 0.975

/* --- numbers without a library ------------------------------------------------------------------------------------ */

union bits {
	double number;
	uint64_t bits;
};

#define ONE 0x3ff0000000000000ull
#define MANTISSA 0xfffffffffffffull
#define LN2_HIGH 0x1.62e42feep-1 /* so short that a multiple of it is exact */
#define LN2_LOW 0x1.a39ef35793c76p-33

/* The natural logarithm of a number that is 1 or more, by the series of the inverse hyperbolic tangent. */
double logarithm(double x)
{
	union bits u = { x };
	double k = (double)(int64_t)(u.bits >> 52) - 1023, f, s, z, sum = 0, half;

	u.bits = (u.bits & MANTISSA) | ONE;
	if (u.number > 0x1.6a09e667f3bcdp0) {
		u.number /= 2;
		k += 1;
	}
	f = u.number - 1;
	s = f / (2 + f);
	z = s * s;
	for (int i = 25; i > 1; i -= 2)
		sum = (sum + 2.0 / i) * z;
	half = f * f / 2;
	return k * LN2_HIGH - ((half - (s * (half + sum) + k * LN2_LOW)) - f);
}

/* The exponential of a number that is 0 or more. */
double exponential(double x)
{
	union bits scale;
	double k, r, sum = 1;

	if (!(x < 709))
		return x * __builtin_inf();
	k = (double)(int64_t)(x * 0x1.71547652b82fep0 + 0.5);
	r = x - k * LN2_HIGH - k * LN2_LOW;
	for (int i = 14; i > 0; i--)
		sum = 1 + sum * r / i;
	scale.bits = (uint64_t)(k + 1023) << 52;
	return sum * scale.number;
}

/* --- prices and intervals ----------------------------------------------------------------------------------------- */

/* What counts nothing adds nothing, and is left out: most ledgers hold few events. */
static void price_many(const double *ledger, const double *vectors, uint64_t count, double *prices)
{
	int counted[UL_EVENTS], n = 0;

	for (int i = 0; i < UL_EVENTS; i++)
		if (ledger[i] != 0)
			counted[n++] = i;
	for (uint64_t v = 0; v < count; v++, vectors += UL_EVENTS) {
		prices[v] = 0;
		for (int i = 0; i < n; i++)
			prices[v] += ledger[counted[i]] * vectors[counted[i]];
	}
}

double ul_price(const double *ledger, const double *costs)
{
	double price;

	price_many(ledger, costs, 1, &price);
	return price;
}

/* The number that would be at a place if the numbers were in order (Hoare 1961). */
static double in_order(double *numbers, uint64_t count, uint64_t place)
{
	uint64_t first = 0, last = count - 1;

	while (first < last) {
		double middle = numbers[first + (last - first) / 2];
		uint64_t low = first, high = last;

		for (;;) {
			double kept;

			while (numbers[low] < middle)
				low++;
			while (middle < numbers[high])
				high--;
			if (low >= high)
				break;
			kept = numbers[low];
			numbers[low++] = numbers[high];
			numbers[high--] = kept;
		}
		if (place <= high)
			last = high;
		else
			first = high + 1;
	}
	return numbers[place];
}

void ul_interval(double *values, uint64_t draws, double error, double weight, struct ul_estimate *found)
{
	double widened = weight == 1 ? 1 + error : exponential(weight * logarithm(1 + error)), low, high;

	found->value = values[0];
	found->low = found->high = __builtin_nan("");
	if (!draws || !(error >= 0))
		return;
	low = in_order(values + 1, draws, (uint64_t)(LOW * (double)draws));
	high = in_order(values + 1, draws, (uint64_t)(HIGH * (double)draws));
	found->low = (low < values[0] ? low : values[0]) / widened;
	found->high = (high > values[0] ? high : values[0]) * widened;
}

void ul_estimate(const double *ledger, const double *vectors, uint64_t draws, double error, double *room,
		 struct ul_estimate *found)
{
	price_many(ledger, vectors, 1 + draws, room);
	ul_interval(room, draws, error, 1, found);
}

double ul_apart(const double *top, const double *bottom, const double *costs)
{
	double least[UL_EVENTS], over = ul_price(top, costs), under = ul_price(bottom, costs), shared, a, b;

	if (!(over > 0) || !(under > 0))
		return 0x1.6a09e667f3bcdp0;
	for (int i = 0; i < UL_EVENTS; i++)
		least[i] = top[i] < bottom[i] ? top[i] : bottom[i];
	shared = ul_price(least, costs);
	a = shared / over;
	b = shared / under;
	return __builtin_sqrt((a - b) * (a - b) + (1 - a) * (1 - a) + (1 - b) * (1 - b));
}

int32_t ul_ratio(const double *top, const double *bottom, const double *vectors, uint64_t draws, double error,
		 double *room, struct ul_estimate *found)
{
	double *below = room + 1 + draws;

	price_many(top, vectors, 1 + draws, room);
	price_many(bottom, vectors, 1 + draws, below);
	for (uint64_t i = 0; i <= draws; i++) {
		if (!(below[i] > 0))
			return UL_BAD;
		room[i] /= below[i];
	}
	ul_interval(room, draws, error, ul_apart(top, bottom, vectors), found);
	return UL_OK;
}
