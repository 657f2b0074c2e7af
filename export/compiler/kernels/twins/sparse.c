/* dsp/sparse.c in C with intrinsics: the same loop, for comparison and for tests. */
#include "../sparse.h"

static inline int32_t sparse_high(int32_t sum, int32_t multiplier, int32_t addend) {
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(sum), "r"(multiplier), "r"(addend));
    return result;
}

static inline void sparse_add(int32_t value, const void *at, int32_t sums[8]) {
    const uint32_t *x = (const uint32_t *)at;
    sums[0] = __smlabb(value, x[0], sums[0]);
    sums[1] = __smlabt(value, x[0], sums[1]);
    sums[2] = __smlabb(value, x[1], sums[2]);
    sums[3] = __smlabt(value, x[1], sums[3]);
    sums[4] = __smlabb(value, x[2], sums[4]);
    sums[5] = __smlabt(value, x[2], sums[5]);
    sums[6] = __smlabb(value, x[3], sums[6]);
    sums[7] = __smlabt(value, x[3], sums[7]);
}

static inline const uint8_t *sparse3_sums(const uint8_t *entry, const int16_t *strip, int32_t sums[8]) {
    const int left = entry[0];
    strip += entry[1] * 8;
    sparse_add((int8_t)entry[2], strip, sums);
    entry += 3;
    if (left % 2) {
        strip += 8 + entry[0] * 8;
        sparse_add((int8_t)entry[1], strip, sums);
        entry += 2;
    }
    for (const uint8_t *end = entry + left / 2 * 3; entry != end; entry += 3) {
        strip += 8 + (entry[1] & 15) * 8;
        sparse_add((int8_t)entry[0], strip, sums);
        strip += 8 + (entry[1] >> 4) * 8;
        sparse_add((int8_t)entry[2], strip, sums);
    }
    return entry;
}

static inline const uint8_t *sparse4_sums(const uint8_t *entry, int count, const int16_t *strip, int32_t sums[8]) {
    for (const uint8_t *end = entry + count * 4; entry != end; entry += 4) {
        const uint16_t *halves = (const uint16_t *)(const void *)entry;
        sparse_add((int16_t)halves[0], (const char *)strip + halves[1], sums);
    }
    return entry;
}

/* The outputs of channel c for 8 pixels; returns the entry after its last. */
static inline const uint8_t *sparse_outputs(const sparse_t *p, const uint8_t *entry, int bytes, int c, const int16_t *strip,
                                            int32_t *out) {
    const fast_channel_t *channel = p->channels + c;
    int32_t sums[8];
    for (int i = 0; i < 8; ++i) {
        sums[i] = FAST_BIAS(channel);
    }
    entry = bytes == 3 ? sparse3_sums(entry, strip, sums) : sparse4_sums(entry, p->counts[c], strip, sums);
    const int32_t addend = (int32_t)((uint32_t)(2 * p->zero_point + 1) << FAST_SHIFT(channel)) >> 1;
    for (int i = 0; i < 8; ++i) {
        const int32_t high = sparse_high(sums[i] * 2, channel->multiplier, addend + (sums[i] >> 31));
        out[i] = __ssat(high >> FAST_SHIFT(channel), 8);
    }
    return entry;
}

static inline void sparse_to_image(const sparse_t *p, int bytes, const int16_t *strip, int pixels, int8_t *image) {
    const uint8_t *entry = p->entries;
    for (int c = 0; c < p->outputs; ++c) {
        int32_t out[8];
        entry = sparse_outputs(p, entry, bytes, c, strip, out);
        for (int i = 0; i < pixels; ++i) {
            image[i * p->outputs + c] = (int8_t)out[i];
        }
    }
}

static inline void sparse_to_rows(const sparse_t *p, int bytes, const int16_t *strip, int pixels, int16_t *row,
                                  const int32_t steps[2]) {
    const uint8_t *entry = p->entries;
    for (int c = 0; c < p->outputs; ++c, row += steps[0]) {
        int32_t out[8];
        entry = sparse_outputs(p, entry, bytes, c, strip, out);
        for (int i = 0; i < (pixels > 4 ? 8 : 4); ++i) {
            row[i < 4 ? i : steps[1] + i - 4] = (int16_t)(i < pixels ? out[i] - p->zero_point : 0);
        }
    }
}

KERNEL void sparse3_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    sparse_to_image(p, 3, strip, pixels, image);
}

KERNEL void sparse3_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const int32_t steps[2] = {row_stride, row_step};
    sparse_to_rows(p, 3, strip, pixels, row, steps);
}

KERNEL void sparse4_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    sparse_to_image(p, 4, strip, pixels, image);
}

KERNEL void sparse4_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const int32_t steps[2] = {row_stride, row_step};
    sparse_to_rows(p, 4, strip, pixels, row, steps);
}
