/* dsp/sparse.c in C with intrinsics: the same loop, for comparison and for tests. */
#include "../sparse.h"

static inline int32_t sparse_high(int32_t sum, int32_t multiplier, int32_t addend) {
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(sum), "r"(multiplier), "r"(addend));
    return result;
}

/* The outputs of channel c for 8 pixels; returns the entry after its last. */
static inline const uint8_t *sparse_outputs(const sparse_t *p, const uint8_t *entry, int bytes, int c, const int16_t *strip,
                                            int32_t *out) {
    const fast_channel_t *channel = p->channels + c;
    int32_t a0 = FAST_BIAS(channel), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
    for (const uint8_t *end = entry + p->counts[c] * bytes; entry != end; entry += bytes) {
        const int32_t value = bytes == 2 ? (int8_t)entry[0] : *(const int16_t *)(const void *)entry;
        const int offset = bytes == 2 ? entry[1] * 16 : *(const uint16_t *)(const void *)(entry + 2);
        const uint32_t *x = (const uint32_t *)(const void *)((const char *)strip + offset);
        a0 = __smlabb(value, x[0], a0);
        a1 = __smlabt(value, x[0], a1);
        a2 = __smlabb(value, x[1], a2);
        a3 = __smlabt(value, x[1], a3);
        a4 = __smlabb(value, x[2], a4);
        a5 = __smlabt(value, x[2], a5);
        a6 = __smlabb(value, x[3], a6);
        a7 = __smlabt(value, x[3], a7);
    }
    const int32_t sums[8] = {a0, a1, a2, a3, a4, a5, a6, a7};
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

KERNEL void sparse2_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    sparse_to_image(p, 2, strip, pixels, image);
}

KERNEL void sparse2_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const int32_t steps[2] = {row_stride, row_step};
    sparse_to_rows(p, 2, strip, pixels, row, steps);
}

KERNEL void sparse4_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    sparse_to_image(p, 4, strip, pixels, image);
}

KERNEL void sparse4_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const int32_t steps[2] = {row_stride, row_step};
    sparse_to_rows(p, 4, strip, pixels, row, steps);
}
