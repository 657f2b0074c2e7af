/* Layers fused row by row. A block is up to three layers, expand, depthwise and project, and a shortcut that is added:

       image -> fill -> rows -> depthwise -> tiles or strips -> finish -> image -> tail (table, ADD) -> image

   Only as many rows of the expanded image exist as the depthwise kernel is high, in a ring. The stages are functions, so
   that a model holds those that it uses and no others; which ones there are: stages.h. */
#ifndef BLOCK_H
#define BLOCK_H

#include "convert.h"
#include "dense.h"
#include "depthwise.h"
#include "elementwise.h"

typedef struct block block_t;

/* Rows y to y + fill_rows - 1 of the image that the depthwise layer reads, from the block's input. */
typedef void fill_t(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch);

/* A function of each value, in place: of rows, or of tiles and strips. */
typedef void change_t(const block_t *p, int16_t *values);

/* `pixels` pixels of the output image, from tiles or strips. */
typedef void finish_t(const block_t *p, const int16_t *values, int pixels, int8_t *out, int16_t *scratch);

/* From what finish wrote to the output; `from` may be the output. */
typedef void tail_t(const block_t *p, int8_t *from, const int8_t *shortcut, int8_t *out, int count);

struct block {
    fill_t *fill;
    change_t *change_rows, *change_tiles; /* 0: none */
    finish_t *finish;
    tail_t *tail;                 /* 0: none */
    const void *expand;           /* dense_t or sparse_t */
    const gather_t *gather;       /* where the first layer is no 1x1 convolution */
    const int16_t *rows_table;    /* as lookup_rows wants it */
    const void *depthwise;        /* depthwise_t or map4_t */
    const int8_t *tiles_table;    /* [256] */
    const void *project;          /* dense_t or sparse_t */
    const int8_t *table;          /* [256], after project */
    const add_t *add;             /* input a: what project made, b: the shortcut */
    int32_t at_fill, at_tiles, at_row; /* where in the scratch memory they are, in halfwords; the ring comes first */
    int32_t tiles_halfwords;      /* of one row of the output, or of one group of rows */
    int16_t channels, width;      /* of the input image */
    int16_t middle_channels, middle_height, middle_width, row_stride; /* of the depthwise layer's input */
    int16_t rows, columns, outputs; /* of the output image */
    int16_t zero_point;           /* of the input, for fill_spread */
    uint8_t ring, fill_rows, group, pad_top;
};

/* expand, depthwise, project. `group` rows of the output at a time where project is sparse and rows have 4 pixels. */
KERNEL void block_tiles(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch);

KERNEL void block_strips(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch);

/* The same for a whole image of 2 x 2 pixels. */
KERNEL void block_map4(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch);

/* project alone: a 1x1 convolution, dense or sparse, and any convolution on gathered windows. */
KERNEL void points_tiles(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch);

KERNEL void points_strips(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch);

KERNEL void windows(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch);

#endif
