#include "../sparse.h"

static inline void sparse_add(int32_t value, const int16_t *x, int32_t sums[8]) {
    for (int i = 0; i < 8; ++i) {
        sums[i] += value * x[i];
    }
}

/* The sums of one output for the 8 pixels of a strip; returns the byte after its last entry. */
static inline const uint8_t *sparse3_sums(const uint8_t *entry, const int16_t *strip, int32_t sums[8]) {
    int left = entry[0];
    const int16_t *x = strip + entry[1] * 8;
    sparse_add((int8_t)entry[2], x, sums);
    entry += 3;
    if (left % 2) {
        x += (entry[0] + 1) * 8;
        sparse_add((int8_t)entry[1], x, sums);
        entry += 2;
    }
    for (left /= 2; left > 0; --left, entry += 3) {
        x += ((entry[1] & 15) + 1) * 8;
        sparse_add((int8_t)entry[0], x, sums);
        x += ((entry[1] >> 4) + 1) * 8;
        sparse_add((int8_t)entry[2], x, sums);
    }
    return entry;
}

/* Returns the entry after the last. */
static inline const uint32_t *sparse4_sums(const uint32_t *entry, int count, const int16_t *strip, int32_t sums[8]) {
    for (; count > 0; --count, ++entry) {
        sparse_add((int16_t)(*entry & 0xffff), strip + (*entry >> 17), sums);
    }
    return entry;
}

static inline void sparse_start(const fast_channel_t *channel, int32_t sums[8]) {
    for (int i = 0; i < 8; ++i) {
        sums[i] = FAST_BIAS(channel);
    }
}

static inline void sparse_image(const sparse_t *p, int c, const int32_t sums[8], int pixels, int8_t *image) {
    const fast_channel_t *channel = p->channels + c;
    for (int i = 0; i < pixels; ++i) {
        image[i * p->outputs + c] = clamp8(rescale(sums[i], channel->multiplier, FAST_SHIFT(channel)) + p->zero_point);
    }
}

static inline void sparse_rows(const sparse_t *p, int c, const int32_t sums[8], int pixels, int16_t *row, int row_step) {
    const fast_channel_t *channel = p->channels + c;
    for (int i = 0; i < (pixels > 4 ? 8 : 4); ++i) {
        int32_t value = clamp8(rescale(sums[i], channel->multiplier, FAST_SHIFT(channel)) + p->zero_point) - p->zero_point;
        row[i < 4 ? i : row_step + i - 4] = (int16_t)(i < pixels ? value : 0);
    }
}

KERNEL void sparse3_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    const uint8_t *entry = p->entries;
    for (int c = 0; c < p->outputs; ++c) {
        int32_t sums[8];
        sparse_start(p->channels + c, sums);
        entry = sparse3_sums(entry, strip, sums);
        sparse_image(p, c, sums, pixels, image);
    }
}

KERNEL void sparse3_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const uint8_t *entry = p->entries;
    for (int c = 0; c < p->outputs; ++c) {
        int32_t sums[8];
        sparse_start(p->channels + c, sums);
        entry = sparse3_sums(entry, strip, sums);
        sparse_rows(p, c, sums, pixels, row + c * row_stride, row_step);
    }
}

KERNEL void sparse4_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    const uint32_t *entry = p->entries;
    for (int c = 0; c < p->outputs; ++c) {
        int32_t sums[8];
        sparse_start(p->channels + c, sums);
        entry = sparse4_sums(entry, p->counts[c], strip, sums);
        sparse_image(p, c, sums, pixels, image);
    }
}

KERNEL void sparse4_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const uint32_t *entry = p->entries;
    for (int c = 0; c < p->outputs; ++c) {
        int32_t sums[8];
        sparse_start(p->channels + c, sums);
        entry = sparse4_sums(entry, p->counts[c], strip, sums);
        sparse_rows(p, c, sums, pixels, row + c * row_stride, row_step);
    }
}
