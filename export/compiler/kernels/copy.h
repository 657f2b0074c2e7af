/* One part of a CONCATENATION: `outer` pieces, each to its place among the pieces of the others. */
#ifndef COPY_H
#define COPY_H

#include "common.h"

KERNEL void copy(const int8_t *in, int8_t *out, int outer, int piece, int step);

#endif
