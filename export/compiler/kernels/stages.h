/* The stages of a block; see block.h. */
#ifndef STAGES_H
#define STAGES_H

#include "block.h"
#include "clustered.h"
#include "sparse.h"

/* fill: a 1x1 convolution, any convolution, none (the depthwise layer reads the input itself), a sparse 1x1 convolution. */
KERNEL void fill_dense(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch);

KERNEL void fill_clustered(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch);

KERNEL void fill_gather(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch);

KERNEL void fill_spread(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch);

KERNEL void fill_sparse3(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch);

KERNEL void fill_sparse4(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch);

/* change: tables */
KERNEL void apply_rows_table(const block_t *p, int16_t *row);

KERNEL void apply_tiles_table(const block_t *p, int16_t *tiles);

/* finish: a 1x1 convolution of tiles; none; a sparse one of strips; a sparse one of a tile. */
KERNEL void finish_dense(const block_t *p, const int16_t *tiles, int pixels, int8_t *out, int16_t *scratch);

KERNEL void finish_clustered(const block_t *p, const int16_t *tiles, int pixels, int8_t *out, int16_t *scratch);

KERNEL void finish_narrow(const block_t *p, const int16_t *tiles, int pixels, int8_t *out, int16_t *scratch);

KERNEL void finish_sparse3(const block_t *p, const int16_t *strips, int pixels, int8_t *out, int16_t *scratch);

KERNEL void finish_sparse4(const block_t *p, const int16_t *strips, int pixels, int8_t *out, int16_t *scratch);

KERNEL void finish_tile_sparse3(const block_t *p, const int16_t *tile, int pixels, int8_t *out, int16_t *scratch);

KERNEL void finish_tile_sparse4(const block_t *p, const int16_t *tile, int pixels, int8_t *out, int16_t *scratch);

/* tail */
KERNEL void tail_lookup(const block_t *p, int8_t *from, const int8_t *shortcut, int8_t *out, int count);

KERNEL void tail_add(const block_t *p, int8_t *from, const int8_t *shortcut, int8_t *out, int count);

KERNEL void tail_lookup_add(const block_t *p, int8_t *from, const int8_t *shortcut, int8_t *out, int count);

#endif
