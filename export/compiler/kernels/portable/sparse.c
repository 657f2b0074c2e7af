#include "../sparse.h"

/* The sums of one output for the 8 pixels of a strip; returns the entry after its last. */
static inline const uint8_t *sparse2_sums(const uint8_t *entry, int count, const int16_t *strip, int32_t sums[8]) {
    for (; count > 0; --count, entry += 2) {
        int32_t value = (int8_t)entry[0];
        const int16_t *x = strip + entry[1] * 8;
        for (int i = 0; i < 8; ++i) {
            sums[i] += value * x[i];
        }
    }
    return entry;
}

static inline const uint32_t *sparse4_sums(const uint32_t *entry, int count, const int16_t *strip, int32_t sums[8]) {
    for (; count > 0; --count, ++entry) {
        int32_t value = (int16_t)(*entry & 0xffff);
        const int16_t *x = strip + (*entry >> 17);
        for (int i = 0; i < 8; ++i) {
            sums[i] += value * x[i];
        }
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

KERNEL void sparse2_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    const uint8_t *entry = p->entries;
    for (int c = 0; c < p->outputs; ++c) {
        int32_t sums[8];
        sparse_start(p->channels + c, sums);
        entry = sparse2_sums(entry, p->counts[c], strip, sums);
        sparse_image(p, c, sums, pixels, image);
    }
}

KERNEL void sparse2_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const uint8_t *entry = p->entries;
    for (int c = 0; c < p->outputs; ++c) {
        int32_t sums[8];
        sparse_start(p->channels + c, sums);
        entry = sparse2_sums(entry, p->counts[c], strip, sums);
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
