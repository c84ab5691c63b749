/* SPDX-License-Identifier: MIT */
#ifndef UFFDLAB_SIM_H
#define UFFDLAB_SIM_H

#include <stddef.h>
#include <stdint.h>

#include "sim.cdef.h"

#endif
