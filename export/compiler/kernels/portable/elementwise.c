#include "../elementwise.h"

KERNEL void add_images(const add_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count) {
    for (int i = 0; i < count; ++i) {
        int32_t x = rounding_shift(high_product((a[i] - p->zero_a) * (1 << 20), p->multiplier_a), p->shift_a);
        int32_t y = rounding_shift(high_product((b[i] - p->zero_b) * (1 << 20), p->multiplier_b), p->shift_b);
        out[i] = (int8_t)clamp(rescale(x + y, p->multiplier, p->shift) + p->zero_point, p->low, p->high);
    }
}

static inline int8_t multiply_one(const multiply_t *p, int32_t a, int32_t b) {
    int32_t product = rescale((a - p->zero_a) * (b - p->zero_b), p->multiplier, p->shift);
    return (int8_t)clamp(product + p->zero_point, p->low, p->high);
}

KERNEL void multiply_images(const multiply_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count) {
    for (int i = 0; i < count; ++i) {
        out[i] = multiply_one(p, a[i], b[i]);
    }
}

KERNEL void gate_image(const multiply_t *p, const int8_t *a, const int8_t *gate, int8_t *out, int pixels, int channels) {
    for (int i = 0; i < pixels; ++i, a += channels, out += channels) {
        for (int c = 0; c < channels; ++c) {
            out[c] = multiply_one(p, a[c], gate[c]);
        }
    }
}

KERNEL void lookup(const int8_t *table, const int8_t *in, int8_t *out, int count) {
    for (int i = 0; i < count; ++i) {
        out[i] = table[in[i] + 128];
    }
}

KERNEL void lookup_rows(const int16_t *middle, int16_t *row, int channels, int width, int row_stride) {
    for (int c = 0; c < channels; ++c) {
        for (int x = ROW_LEAD; x < ROW_LEAD + width; ++x) {
            row[c * row_stride + x] = middle[row[c * row_stride + x]];
        }
    }
}
