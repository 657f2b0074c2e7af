#include "../stages.h"

KERNEL void fill_dense(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch) {
    in += y * p->width * p->channels;
    for (int x = 0; x < p->middle_width; x += 4) {
        int pixels = p->middle_width - x < 4 ? p->middle_width - x : 4;
        widen_tile(in + x * p->channels, p->channels, pixels, scratch);
        dense_to_rows(p->expand, scratch, pixels, row + ROW_LEAD + x, p->row_stride);
    }
}

KERNEL void fill_clustered(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch) {
    in += y * p->width * p->channels;
    for (int x = 0; x < p->middle_width; x += 4) {
        int pixels = p->middle_width - x < 4 ? p->middle_width - x : 4;
        widen_tile(in + x * p->channels, p->channels, pixels, scratch);
        clustered_to_rows(p->expand, scratch, pixels, row + ROW_LEAD + x, p->row_stride);
    }
}

KERNEL void fill_gather(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch) {
    for (int x = 0; x < p->middle_width; x += 4) {
        int pixels = p->middle_width - x < 4 ? p->middle_width - x : 4;
        gather_tile(p->gather, in, y, x, pixels, scratch);
        dense_to_rows(p->expand, scratch, pixels, row + ROW_LEAD + x, p->row_stride);
    }
}

KERNEL void fill_spread(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch) {
    (void)scratch;
    in += y * p->width * p->channels;
    spread_row(in, p->channels, p->middle_width, p->zero_point, row, p->row_stride);
}

KERNEL void fill_sparse3(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch) {
    int pixels = p->middle_width * p->fill_rows, step = p->fill_rows > 1 ? p->middle_channels * p->row_stride : 4;
    in += y * p->width * p->channels;
    for (int x = 0; x < pixels; x += 8) {
        int some = pixels - x < 8 ? pixels - x : 8;
        widen_strip(in + x * p->channels, p->channels, some, scratch);
        sparse3_to_rows(p->expand, scratch, some, row + ROW_LEAD + x, p->row_stride, step);
    }
}

KERNEL void fill_sparse4(const block_t *p, const int8_t *in, int y, int16_t *row, int16_t *scratch) {
    int pixels = p->middle_width * p->fill_rows, step = p->fill_rows > 1 ? p->middle_channels * p->row_stride : 4;
    in += y * p->width * p->channels;
    for (int x = 0; x < pixels; x += 8) {
        int some = pixels - x < 8 ? pixels - x : 8;
        widen_strip(in + x * p->channels, p->channels, some, scratch);
        sparse4_to_rows(p->expand, scratch, some, row + ROW_LEAD + x, p->row_stride, step);
    }
}

KERNEL void apply_rows_table(const block_t *p, int16_t *row) {
    lookup_rows(p->rows_table, row, p->middle_channels, p->middle_width, p->row_stride);
}

KERNEL void apply_tiles_table(const block_t *p, int16_t *tiles) {
    const int8_t *middle = p->tiles_table + 128;
    for (int16_t *end = tiles + p->tiles_halfwords; tiles != end; tiles += 4) { /* tiles and strips: fours */
        tiles[0] = middle[(int8_t)tiles[0]]; /* what lies past the end may be anything */
        tiles[1] = middle[(int8_t)tiles[1]];
        tiles[2] = middle[(int8_t)tiles[2]];
        tiles[3] = middle[(int8_t)tiles[3]];
    }
}

KERNEL void finish_dense(const block_t *p, const int16_t *tiles, int pixels, int8_t *out, int16_t *scratch) {
    const dense_t *dense = p->project;
    (void)scratch;
    for (int x = 0; x < pixels; x += 4, tiles += (dense->inputs + 1) / 2 * 8) {
        dense_to_image(dense, tiles, pixels - x < 4 ? pixels - x : 4, out + x * p->outputs);
    }
}

KERNEL void finish_clustered(const block_t *p, const int16_t *tiles, int pixels, int8_t *out, int16_t *scratch) {
    const dense_t *dense = p->project;
    (void)scratch;
    for (int x = 0; x < pixels; x += 4, tiles += (dense->inputs + 1) / 2 * 8) {
        clustered_to_image(dense, tiles, pixels - x < 4 ? pixels - x : 4, out + x * p->outputs);
    }
}

KERNEL void finish_narrow(const block_t *p, const int16_t *tiles, int pixels, int8_t *out, int16_t *scratch) {
    (void)scratch;
    for (int x = 0; x < pixels; x += 4, tiles += (p->outputs + 1) / 2 * 8) {
        narrow_tile(tiles, p->outputs, pixels - x < 4 ? pixels - x : 4, out + x * p->outputs);
    }
}

KERNEL void finish_sparse3(const block_t *p, const int16_t *strips, int pixels, int8_t *out, int16_t *scratch) {
    const sparse_t *sparse = p->project;
    (void)scratch;
    for (int x = 0; x < pixels; x += 8, strips += sparse->inputs * 8) {
        sparse3_to_image(sparse, strips, pixels - x < 8 ? pixels - x : 8, out + x * p->outputs);
    }
}

KERNEL void finish_sparse4(const block_t *p, const int16_t *strips, int pixels, int8_t *out, int16_t *scratch) {
    const sparse_t *sparse = p->project;
    (void)scratch;
    for (int x = 0; x < pixels; x += 8, strips += sparse->inputs * 8) {
        sparse4_to_image(sparse, strips, pixels - x < 8 ? pixels - x : 8, out + x * p->outputs);
    }
}

/* A tile -> a strip, by way of an image after the strip. */
static inline void stages_strip(const sparse_t *sparse, const int16_t *tile, int pixels, int16_t *strip) {
    int8_t *image = (int8_t *)(strip + sparse->inputs * 8);
    narrow_tile(tile, sparse->inputs, pixels, image);
    widen_strip(image, sparse->inputs, pixels, strip);
}

KERNEL void finish_tile_sparse3(const block_t *p, const int16_t *tile, int pixels, int8_t *out, int16_t *scratch) {
    stages_strip(p->project, tile, pixels, scratch);
    sparse3_to_image(p->project, scratch, pixels, out);
}

KERNEL void finish_tile_sparse4(const block_t *p, const int16_t *tile, int pixels, int8_t *out, int16_t *scratch) {
    stages_strip(p->project, tile, pixels, scratch);
    sparse4_to_image(p->project, scratch, pixels, out);
}

KERNEL void tail_lookup(const block_t *p, int8_t *from, const int8_t *shortcut, int8_t *out, int count) {
    (void)shortcut;
    lookup(p->table, from, out, count);
}

KERNEL void tail_add(const block_t *p, int8_t *from, const int8_t *shortcut, int8_t *out, int count) {
    add_images(p->add, from, shortcut, out, count);
}

KERNEL void tail_lookup_add(const block_t *p, int8_t *from, const int8_t *shortcut, int8_t *out, int count) {
    lookup(p->table, from, from, count);
    add_images(p->add, from, shortcut, out, count);
}
