#include "../vector.h"

static inline int32_t vector_sum(const vector_t *p, const int8_t *in, int c) {
    const int8_t *weights = p->weights + c * p->inputs;
    int32_t sum = p->channels[c].bias;
    for (int k = 0; k < p->inputs; ++k) {
        sum += in[k] * weights[k];
    }
    return sum;
}

KERNEL void vector_twice(const vector_t *p, const int8_t *in, int8_t *out) {
    for (int c = 0; c < p->outputs; ++c) {
        int32_t value = rescale(vector_sum(p, in, c), p->channels[c].multiplier, p->channels[c].shift);
        out[c] = (int8_t)clamp(value + p->zero_point, p->low, p->high);
    }
}

KERNEL void vector_once(const vector_t *p, const int8_t *in, int8_t *out) {
    for (int c = 0; c < p->outputs; ++c) {
        int32_t shift = 31 + p->channels[c].shift;
        int64_t product = (int64_t)vector_sum(p, in, c) * p->channels[c].multiplier;
        int32_t value = (int32_t)((product + ((int64_t)1 << (shift - 1))) >> shift);
        out[c] = (int8_t)clamp(value + p->zero_point, p->low, p->high);
    }
}

KERNEL void vector_sums(const vector_t *p, const int8_t *in, int32_t *sums) {
    for (int c = 0; c < p->outputs; ++c) {
        sums[c] = vector_sum(p, in, c);
    }
}
