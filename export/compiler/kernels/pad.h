/* PAD of an image with one value. */
#ifndef PAD_H
#define PAD_H

#include "common.h"

typedef struct {
    int32_t height, width, channels;   /* the image that is read */
    int32_t rows, columns, depth;      /* the image that is written */
    int32_t above, left, front;        /* where in it the first one begins */
    int8_t value;
} pad_t;

KERNEL void pad(const pad_t *p, const int8_t *in, int8_t *out);

#endif
