/* dsp/dense.c in C with intrinsics: the same loop, for comparison and for tests. GCC keeps some of the sums on the stack, so
   that it takes 75 to 100 % more instructions. */
#include "../dense.h"

static inline int32_t dense_high(int32_t sum, int32_t multiplier, int32_t addend) {
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(sum), "r"(multiplier), "r"(addend));
    return result;
}

/* The output of a doubled sum. */
static inline int32_t dense_round(const dense_t *p, const fast_channel_t *channel, int32_t sum) {
    const int32_t addend = (int32_t)((uint32_t)(2 * p->zero_point + 1) << FAST_SHIFT(channel)) >> 1;
    return __ssat(dense_high(sum, channel->multiplier, addend + (sum >> 31)) >> FAST_SHIFT(channel), 8);
}

/* Outputs of the channels 2 * pair and 2 * pair + 1 for 4 pixels. */
static inline void dense_pair(const dense_t *p, const int16_t *tile, int pair, int32_t *first, int32_t *second) {
    const int steps = (p->inputs + 1) / 2;
    const uint32_t *weights = (const uint32_t *)(const void *)p->weights + pair * steps, *end = weights + steps;
    const uint32_t *x = (const uint32_t *)(const void *)tile;
    const fast_channel_t *channel = p->channels + 2 * pair;
    const int32_t a = FAST_BIAS(channel), b = (int32_t)((uint32_t)FAST_BIAS(channel + 1) << 8) + a;
    int32_t a0 = a, a1 = a, a2 = a, a3 = a, b0 = b, b1 = b, b2 = b, b3 = b;
    for (; weights != end; ++weights, x += 4) {
        const uint32_t both = *weights, alone = __sxtb16(both);
        a0 = __smlad(alone, x[0], a0);
        b0 = __smlad(both, x[0], b0);
        a1 = __smlad(alone, x[1], a1);
        b1 = __smlad(both, x[1], b1);
        a2 = __smlad(alone, x[2], a2);
        b2 = __smlad(both, x[2], b2);
        a3 = __smlad(alone, x[3], a3);
        b3 = __smlad(both, x[3], b3);
    }
    const int32_t sums[4] = {a0 * 2, a1 * 2, a2 * 2, a3 * 2};
    const int32_t sums_second[4] = {(b0 - a0) >> 7, (b1 - a1) >> 7, (b2 - a2) >> 7, (b3 - a3) >> 7};
    for (int i = 0; i < 4; ++i) {
        first[i] = dense_round(p, channel, sums[i]);
        second[i] = dense_round(p, channel + 1, sums_second[i]);
    }
}

KERNEL void dense_to_part(const dense_t *p, const int16_t *tile, int pixels, int8_t *image, int pitch) {
    int32_t values[2][4];
    for (int c = 0; c < p->outputs; ++c) {
        if (c % 2 == 0) {
            dense_pair(p, tile, c / 2, values[0], values[1]);
        }
        for (int i = 0; i < pixels; ++i) {
            image[i * pitch + c] = (int8_t)values[c % 2][i];
        }
    }
}

KERNEL void dense_to_image(const dense_t *p, const int16_t *tile, int pixels, int8_t *image) {
    dense_to_part(p, tile, pixels, image, p->outputs);
}

KERNEL void dense_to_rows(const dense_t *p, const int16_t *tile, int pixels, int16_t *row, int row_stride) {
    int32_t values[2][4];
    for (int c = 0; c < p->outputs; ++c) {
        if (c % 2 == 0) {
            dense_pair(p, tile, c / 2, values[0], values[1]);
        }
        for (int i = 0; i < 4; ++i) {
            row[c * row_stride + i] = (int16_t)(i < pixels ? values[c % 2][i] - p->zero_point : 0);
        }
    }
}
