/* SPDX-License-Identifier: MIT */
#ifndef UFFDLAB_SIM_PRICE_H
#define UFFDLAB_SIM_PRICE_H

#include "sim_shape.h"

double logarithm(double x);
double exponential(double x);

#endif
