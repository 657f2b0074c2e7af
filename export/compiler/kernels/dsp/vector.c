/* A matrix times one vector, 2 outputs x 4 inputs at a time: 13 instructions for 8 multiplications. */
#include "../vector.h"

static inline uint32_t vector_word(const int8_t *bytes) {
    uint32_t word; /* at any address: the processor reads unaligned words */
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Bytes 1 and 3, widened; __sxtb16 does bytes 0 and 2. */
static inline uint32_t vector_odd_bytes(uint32_t word) {
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

/* The sums of two rows of weights, which start from what is in `sums`. */
static inline void vector_two_rows(const int8_t *in, int count, const int8_t *first, const int8_t *second, int32_t sums[2]) {
    int32_t a = sums[0], b = sums[1];
    const int8_t *end = in + count;
    for (; end - in >= 4; in += 4, first += 4, second += 4) {
        const uint32_t x = vector_word(in), v = vector_word(first), w = vector_word(second);
        const uint32_t even = __sxtb16(x), odd = vector_odd_bytes(x);
        a = __smlad(__sxtb16(v), even, a);
        a = __smlad(vector_odd_bytes(v), odd, a);
        b = __smlad(__sxtb16(w), even, b);
        b = __smlad(vector_odd_bytes(w), odd, b);
    }
    for (; in != end; ++in) {
        a += *in * *first++;
        b += *in * *second++;
    }
    sums[0] = a;
    sums[1] = b;
}

/* Sums of outputs c and c + 1; of an odd last one alone, twice. */
static inline void vector_pair(const vector_t *p, const int8_t *in, int c, int32_t sums[2]) {
    const int d = c + 1 < p->outputs ? c + 1 : c;
    sums[0] = p->channels[c].bias;
    sums[1] = p->channels[d].bias;
    vector_two_rows(in, p->inputs, p->weights + c * p->inputs, p->weights + d * p->inputs, sums);
}

KERNEL void vector_twice(const vector_t *p, const int8_t *in, int8_t *out) {
    for (int c = 0; c < p->outputs; c += 2) {
        int32_t sums[2];
        vector_pair(p, in, c, sums);
        for (int i = 0; i < 2 && c + i < p->outputs; ++i) {
            const channel_t *channel = p->channels + c + i;
            int32_t value = rescale(sums[i], channel->multiplier, channel->shift);
            out[c + i] = (int8_t)clamp(value + p->zero_point, p->low, p->high);
        }
    }
}

KERNEL void vector_once(const vector_t *p, const int8_t *in, int8_t *out) {
    for (int c = 0; c < p->outputs; c += 2) {
        int32_t sums[2];
        vector_pair(p, in, c, sums);
        for (int i = 0; i < 2 && c + i < p->outputs; ++i) {
            const int32_t shift = 31 + p->channels[c + i].shift;
            const int64_t product = (int64_t)sums[i] * p->channels[c + i].multiplier;
            const int32_t value = (int32_t)((product + ((int64_t)1 << (shift - 1))) >> shift);
            out[c + i] = (int8_t)clamp(value + p->zero_point, p->low, p->high);
        }
    }
}

KERNEL void vector_sums(const vector_t *p, const int8_t *in, int32_t *sums) {
    for (int c = 0; c < p->outputs; c += 2) {
        int32_t pair[2];
        vector_pair(p, in, c, pair);
        for (int i = 0; i < 2 && c + i < p->outputs; ++i) {
            sums[c + i] = pair[i];
        }
    }
}
