#include "../mean.h"

KERNEL void mean(const mean_t *p, const int8_t *in, int8_t *out) {
    for (int o = 0; o < p->outer; ++o, in += p->count * p->inner) {
        for (int i = 0; i < p->inner; ++i) {
            int32_t sum = -p->offset;
            for (int k = 0; k < p->count; ++k) {
                sum += in[k * p->inner + i];
            }
            *out++ = clamp8(rescale(sum, p->multiplier, p->shift) + p->zero_point);
        }
    }
}
