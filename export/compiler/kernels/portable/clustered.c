/* Two outputs' weights at a time become what the dense kernel reads, some 8 instructions for two of them, which is as much as
   it then takes to use them: for images of few pixels this doubles the time. */
#include "../clustered.h"

/* Outputs c and c + 1 as a layer of its own; returns the bytes after their codes. */
static inline const int8_t *clustered_pair(const dense_t *p, const int8_t *values, int c, dense_t *pair, int8_t *weights) {
    const int8_t *second = values + 16;
    const uint8_t *codes = (const uint8_t *)second + 16, *end = codes + (p->inputs + 1) / 2 * 2;
    pair->weights = weights;
    pair->channels = p->channels + c;
    pair->inputs = p->inputs;
    pair->outputs = (int16_t)(c + 1 < p->outputs ? 2 : 1);
    pair->zero_point = p->zero_point;
    for (; codes != end; ++codes, weights += 2) {
        const int32_t both = 256 * second[*codes >> 4] + values[*codes & 15];
        weights[0] = (int8_t)(both & 255); /* compilers make one store of them */
        weights[1] = (int8_t)(both >> 8);
    }
    return (const int8_t *)end;
}

KERNEL void clustered_to_image(const dense_t *p, const int16_t *tile, int pixels, int8_t *image) {
    int8_t weights[2 * CLUSTERED_INPUTS] ALIGN4;
    const int8_t *values = p->weights;
    for (int c = 0; c < p->outputs; c += 2) {
        dense_t pair;
        values = clustered_pair(p, values, c, &pair, weights);
        dense_to_part(&pair, tile, pixels, image + c, p->outputs);
    }
}

KERNEL void clustered_to_rows(const dense_t *p, const int16_t *tile, int pixels, int16_t *row, int row_stride) {
    int8_t weights[2 * CLUSTERED_INPUTS] ALIGN4;
    const int8_t *values = p->weights;
    for (int c = 0; c < p->outputs; c += 2) {
        dense_t pair;
        values = clustered_pair(p, values, c, &pair, weights);
        dense_to_rows(&pair, tile, pixels, row + c * row_stride, row_stride);
    }
}
