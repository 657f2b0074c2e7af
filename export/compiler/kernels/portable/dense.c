#include "../dense.h"

/* The weight of the first (0) or second (1) channel of a pair: the bytes are those of 256 * second + first. */
static inline int32_t dense_weight(const int8_t *pair, int second) {
    return second ? pair[1] + (pair[0] < 0) : pair[0];
}

static inline int32_t dense_sum(const dense_t *p, const int16_t *tile, int c, int pixel) {
    int pairs = (p->inputs + 1) / 2;
    const int8_t *w = p->weights + (c >> 1) * pairs * 4;
    int32_t sum = FAST_BIAS(p->channels + c);
    for (int k = 0; k < pairs; ++k, w += 4) {
        const int16_t *x = tile + k * 8 + pixel * 2;
        sum += x[0] * dense_weight(w, c & 1) + x[1] * dense_weight(w + 2, c & 1);
    }
    return sum;
}

static inline int32_t dense_output(const dense_t *p, const int16_t *tile, int c, int pixel) {
    int32_t sum = dense_sum(p, tile, c, pixel);
    return clamp8(rescale(sum, p->channels[c].multiplier, FAST_SHIFT(p->channels + c)) + p->zero_point);
}

KERNEL void dense_to_part(const dense_t *p, const int16_t *tile, int pixels, int8_t *image, int pitch) {
    for (int c = 0; c < p->outputs; ++c) {
        for (int i = 0; i < pixels; ++i) {
            image[i * pitch + c] = (int8_t)dense_output(p, tile, c, i);
        }
    }
}

KERNEL void dense_to_image(const dense_t *p, const int16_t *tile, int pixels, int8_t *image) {
    dense_to_part(p, tile, pixels, image, p->outputs);
}

KERNEL void dense_to_rows(const dense_t *p, const int16_t *tile, int pixels, int16_t *row, int row_stride) {
    for (int c = 0; c < p->outputs; ++c) {
        for (int i = 0; i < 4; ++i) {
            row[c * row_stride + i] = (int16_t)(i < pixels ? dense_output(p, tile, c, i) - p->zero_point : 0);
        }
    }
}
