#include "../block.h"

/* finish and tail for `pixels` pixels from pixel number `at` on. */
static inline void block_end(const block_t *p, const int16_t *values, int at, int pixels, const int8_t *shortcut,
                             int8_t *out, int16_t *scratch) {
    out += at * p->outputs;
    int8_t *target = p->add ? (int8_t *)(scratch + p->at_row) : out;
    p->finish(p, values, pixels, target, scratch + p->at_fill);
    if (p->tail) {
        p->tail(p, target, p->add ? shortcut + at * p->outputs : 0, out, pixels * p->outputs);
    }
}

/* The rows under output row y: fills those that are not in the ring yet. Returns how many there are. */
static inline int block_rows(const block_t *p, const int8_t *in, int y, int *next, const int16_t **rows, int *first,
                             int16_t *scratch) {
    const depthwise_t *d = p->depthwise;
    int halfwords = p->middle_channels * p->row_stride, top = y * d->stride - p->pad_top, count = 0;
    int bottom = top + d->size < p->middle_height ? top + d->size : p->middle_height;
    for (; *next < bottom; *next += p->fill_rows) {
        int16_t *row = scratch + *next % p->ring * halfwords;
        p->fill(p, in, *next, row, scratch + p->at_fill);
        for (int i = 0; p->change_rows && i < p->fill_rows; ++i) {
            p->change_rows(p, row + i * halfwords);
        }
    }
    *first = top < 0 ? -top : 0;
    for (int r = top + *first; r < bottom; ++r) {
        rows[count++] = scratch + r % p->ring * halfwords;
    }
    return count;
}

KERNEL void block_tiles(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch) {
    int16_t *tiles = scratch + p->at_tiles;
    int next = 0;
    memset(scratch, 0, (size_t)(p->ring * p->middle_channels * p->row_stride) * sizeof *scratch);
    for (int y = 0; y < p->rows; ++y) {
        const int16_t *rows[5];
        int first, count = block_rows(p, in, y, &next, rows, &first, scratch);
        depthwise_to_tiles(p->depthwise, rows, first, count, tiles);
        if (p->change_tiles) {
            p->change_tiles(p, tiles);
        }
        block_end(p, tiles, y * p->columns, p->columns, shortcut, out, scratch);
    }
}

KERNEL void block_strips(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch) {
    int16_t *strips = scratch + p->at_tiles;
    int next = 0;
    memset(scratch, 0, (size_t)(p->ring * p->middle_channels * p->row_stride) * sizeof *scratch);
    for (int y = 0; y < p->rows; y += p->group) {
        for (int i = 0; i < p->group; ++i) {
            const int16_t *rows[5];
            int first, count = block_rows(p, in, y + i, &next, rows, &first, scratch);
            depthwise_to_strips(p->depthwise, rows, first, count, strips, i * ((p->columns + 3) / 4));
        }
        if (p->change_tiles) {
            p->change_tiles(p, strips);
        }
        block_end(p, strips, y * p->columns, p->group * p->columns, shortcut, out, scratch);
    }
}

KERNEL void block_map4(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch) {
    int16_t *tile = scratch + p->at_tiles;
    p->fill(p, in, 0, scratch, scratch + p->at_fill);
    if (p->change_rows) {
        p->change_rows(p, scratch);
    }
    depthwise_map4(p->depthwise, scratch + ROW_LEAD, tile);
    if (p->change_tiles) {
        p->change_tiles(p, tile);
    }
    block_end(p, tile, 0, p->rows * p->columns, shortcut, out, scratch);
}

KERNEL void points_tiles(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch) {
    int pixels = p->rows * p->columns;
    for (int i = 0; i < pixels; i += 4) {
        int some = pixels - i < 4 ? pixels - i : 4;
        widen_tile(in + i * p->channels, p->channels, some, scratch + p->at_tiles);
        block_end(p, scratch + p->at_tiles, i, some, shortcut, out, scratch);
    }
}

KERNEL void points_strips(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch) {
    int pixels = p->rows * p->columns;
    for (int i = 0; i < pixels; i += 8) {
        int some = pixels - i < 8 ? pixels - i : 8;
        widen_strip(in + i * p->channels, p->channels, some, scratch + p->at_tiles);
        block_end(p, scratch + p->at_tiles, i, some, shortcut, out, scratch);
    }
}

KERNEL void windows(const block_t *p, const int8_t *in, const int8_t *shortcut, int8_t *out, int16_t *scratch) {
    for (int y = 0; y < p->rows; ++y) {
        for (int x = 0; x < p->columns; x += 4) {
            int some = p->columns - x < 4 ? p->columns - x : 4;
            gather_tile(p->gather, in, y, x, some, scratch + p->at_tiles);
            block_end(p, scratch + p->at_tiles, y * p->columns + x, some, shortcut, out, scratch);
        }
    }
}
