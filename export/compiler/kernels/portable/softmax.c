#include "../softmax.h"

/* SaturatingRoundingDoublingHighMul of any two numbers that are not both the least. */
static inline int32_t softmax_product(int32_t a, int32_t b) {
    int64_t product = (int64_t)a * b;
    return (int32_t)((product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / ((int64_t)1 << 31));
}

/* 1 / (1 + x) for x in [0, 1), both in Q0.31, by three Newton steps: one_over_one_plus_x_for_x_in_0_1 of gemmlowp. */
static inline int32_t softmax_reciprocal(int32_t x) {
    int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t y = 1515870810 + softmax_product(half, -1010580540);
    for (int i = 0; i < 3; ++i) {
        int32_t error = (1 << 29) - softmax_product(half, y);
        y += softmax_product(y, error) * 4;
    }
    return y >= 1 << 30 ? INT32_MAX : y * 2;
}

static inline int softmax_leading_zeros(uint32_t x) {
    int n = 0;
    while (n < 32 && !(x >> (31 - n))) {
        ++n;
    }
    return n;
}

KERNEL void softmax(const softmax_t *p, const int8_t *in, int8_t *out) {
    for (int row = 0; row < p->rows; ++row, in += p->depth, out += p->depth) {
        int32_t most = -128, sum = 0; /* the sum is in Q12.19 */
        for (int i = 0; i < p->depth; ++i) {
            most = in[i] > most ? in[i] : most;
        }
        for (int i = 0; i < p->depth; ++i) {
            sum += rounding_shift(p->exponentials[most - in[i]], 12);
        }
        int headroom = softmax_leading_zeros((uint32_t)sum);
        int32_t scale = softmax_reciprocal((int32_t)(((uint32_t)sum << headroom) - ((uint32_t)1 << 31)));
        int32_t shift = 12 - headroom + 31 - 8;
        for (int i = 0; i < p->depth; ++i) {
            int32_t value = p->exponentials[most - in[i]];
            out[i] = clamp8(value ? rounding_shift(softmax_product(scale, value), shift) - 128 : -128);
        }
    }
}
