/* MEAN of four channels at a time: two sums share a word, 16 bits each, which 256 values cannot overflow. */
#include "../mean.h"

#define MEAN_CHUNK 256

/* Adds `count` values of each of four channels, `step` bytes apart, to sums. */
static inline void mean_four(const int8_t *in, int step, int count, int32_t sums[4]) {
    while (count > 0) {
        const int some = count < MEAN_CHUNK ? count : MEAN_CHUNK;
        uint32_t even = 0, odd = 0; /* channels 0 and 2, 1 and 3 */
        for (const int8_t *end = in + some * step; in != end; in += step) {
            uint32_t word, turned;
            memcpy(&word, in, sizeof word);
            __asm__("sxtb16 %0, %1, ror #8" : "=r"(turned) : "r"(word));
            even = __sadd16(even, __sxtb16(word));
            odd = __sadd16(odd, turned);
        }
        sums[0] += (int16_t)even;
        sums[1] += (int16_t)odd;
        sums[2] += (int32_t)even >> 16;
        sums[3] += (int32_t)odd >> 16;
        count -= some;
    }
}

KERNEL void mean(const mean_t *p, const int8_t *in, int8_t *out) {
    for (int o = 0; o < p->outer; ++o, in += p->count * p->inner) {
        for (int i = 0; i < p->inner; i += 4) {
            const int channels = p->inner - i < 4 ? p->inner - i : 4;
            int32_t sums[4] = {-p->offset, -p->offset, -p->offset, -p->offset};
            if (channels == 4) {
                mean_four(in + i, p->inner, p->count, sums);
            }
            for (int c = 0; c < channels; ++c) {
                for (int k = 0; channels < 4 && k < p->count; ++k) {
                    sums[c] += in[k * p->inner + i + c];
                }
                *out++ = clamp8(rescale(sums[c], p->multiplier, p->shift) + p->zero_point);
            }
        }
    }
}
