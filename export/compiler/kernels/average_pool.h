/* AVERAGE_POOL_2D. What lies outside the image does not count. */
#ifndef AVERAGE_POOL_H
#define AVERAGE_POOL_H

#include "window.h"

KERNEL void average_pool(const window_t *p, const int8_t *in, int8_t *out);

#endif
