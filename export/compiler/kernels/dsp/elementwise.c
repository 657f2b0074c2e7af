/* Operators on single values, four at a time: an ADD takes 16 instructions per value. */
#include "../elementwise.h"

/* What there is for an ADD, see KEEP. */
#ifndef ADD_FAST
#define ADD_FAST 1
#endif
#ifndef ADD_ALIKE
#define ADD_ALIKE 1
#endif
#ifndef ADD_ANY
#define ADD_ANY 1
#endif

static inline int32_t elementwise_high(int32_t value, int32_t multiplier, int32_t addend) {
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(value), "r"(multiplier), "r"(addend));
    return result;
}

/* A doubled value, times multiplier / 2^31, rounded, plus `addend` (half of the second rounding, a zero point), shifted:
   halves of negative numbers go away from 0. `shift` is 1 or more. */
static inline int32_t elementwise_rescale(int32_t doubled, int32_t multiplier, int32_t addend, int32_t shift) {
    return elementwise_high(doubled, multiplier, addend + (doubled >> 31)) >> shift;
}

/* What the loop of an ADD keeps in registers: all that there are, with the pointers. The input with the larger scale, a, has
   the factor 1/2 exactly; its zero point is in half_b. */
typedef struct {
    int32_t start_b; /* the zero point, in place */
    int32_t multiplier_b, half_b, shift_b;
    int32_t multiplier, addend, shift;
} elementwise_add_t;

static inline int8_t elementwise_add(const elementwise_add_t *p, int32_t a, int32_t b) {
    const int32_t scaled = elementwise_rescale(b * (1 << 21) + p->start_b, p->multiplier_b, p->half_b, p->shift_b);
    const int32_t sum = scaled + a * (1 << 19), addend = p->addend + (sum >> 31);
    return (int8_t)__ssat(elementwise_high(sum * 2, p->multiplier, addend) >> p->shift, 8);
}

static inline void elementwise_add_fast(const add_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count) {
    const int32_t start_a = p->zero_a * -(1 << 19);
    const elementwise_add_t q = {
        p->zero_b * -(1 << 21),
        p->multiplier_b,
        (1 << (p->shift_b - 1)) + start_a * (1 << p->shift_b),
        p->shift_b,
        p->multiplier,
        (int32_t)((uint32_t)(2 * p->zero_point + 1) << p->shift) >> 1,
        p->shift,
    };
    const int8_t *end = a + count;
    for (; end - a >= 4; a += 4, b += 4, out += 4) {
        out[0] = elementwise_add(&q, a[0], b[0]);
        out[1] = elementwise_add(&q, a[1], b[1]);
        out[2] = elementwise_add(&q, a[2], b[2]);
        out[3] = elementwise_add(&q, a[3], b[3]);
    }
    while (a != end) {
        *out++ = elementwise_add(&q, *a++, *b++);
    }
}

/* Both inputs have the factor 1/2. */
static inline void elementwise_add_alike(const add_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count) {
    const int32_t start = (p->zero_a + p->zero_b) * -(1 << 20), multiplier = p->multiplier, shift = p->shift;
    const int32_t addend = (int32_t)((uint32_t)(2 * p->zero_point + 1) << shift) >> 1;
    for (const int8_t *end = a + count; a != end;) {
        const int32_t doubled = (*a++ + *b++) * (1 << 20) + start;
        *out++ = (int8_t)__ssat(elementwise_rescale(doubled, multiplier, addend, shift), 8);
    }
}

/* Any factors, any activation: as the portable kernel does it. */
static inline void elementwise_add_any(const add_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count) {
    for (int i = 0; i < count; ++i) {
        const int32_t x = rounding_shift(high_product((a[i] - p->zero_a) * (1 << 20), p->multiplier_a), p->shift_a);
        const int32_t y = rounding_shift(high_product((b[i] - p->zero_b) * (1 << 20), p->multiplier_b), p->shift_b);
        out[i] = (int8_t)clamp(rescale(x + y, p->multiplier, p->shift) + p->zero_point, p->low, p->high);
    }
}

/* Can elementwise_add_fast take it: is input a's factor 1/2, and does nothing overflow that it adds up beforehand? */
static inline int elementwise_add_fits(const add_t *p) {
    return p->multiplier_a == 1 << 30 && p->shift_a == 0 && p->shift_b > 0 && p->shift_b <= 10 &&
           (p->zero_a < 0 ? -p->zero_a : p->zero_a) <= 1 << (10 - p->shift_b);
}

KERNEL void add_images(const add_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count) {
    const int half_a = p->multiplier_a == 1 << 30 && p->shift_a == 0, half_b = p->multiplier_b == 1 << 30 && p->shift_b == 0;
    const add_t turned = {p->zero_b,     p->multiplier_b, p->shift_b, p->zero_a, p->multiplier_a, p->shift_a,
                          p->zero_point, p->multiplier,   p->shift,   p->low,    p->high};
    if (ADD_ANY && (p->shift < 1 || p->shift > 22 || p->low != -128 || p->high != 127)) {
        elementwise_add_any(p, a, b, out, count);
    } else if (ADD_ALIKE && half_a && half_b) {
        elementwise_add_alike(p, a, b, out, count);
    } else if (ADD_FAST && elementwise_add_fits(p)) {
        elementwise_add_fast(p, a, b, out, count);
    } else if (ADD_FAST && elementwise_add_fits(&turned)) {
        elementwise_add_fast(&turned, b, a, out, count);
    } else if (ADD_ANY) {
        elementwise_add_any(p, a, b, out, count);
    }
}

static inline int8_t multiply_one(const multiply_t *p, int32_t a, int32_t b) {
    const int32_t product = rescale((a - p->zero_a) * (b - p->zero_b), p->multiplier, p->shift);
    return (int8_t)clamp(product + p->zero_point, p->low, p->high);
}

static inline int multiply_is_fast(const multiply_t *p) {
    return p->shift >= 1 && p->shift <= 22 && p->low == -128 && p->high == 127;
}

/* multiply_one where multiply_is_fast; b is centred and doubled. */
static inline int8_t multiply_fast(const multiply_t *p, int32_t addend, int32_t a, int32_t b) {
    return (int8_t)__ssat(elementwise_rescale((a - p->zero_a) * b, p->multiplier, addend, p->shift), 8);
}

static inline int32_t multiply_addend(const multiply_t *p) {
    return (int32_t)((uint32_t)(2 * p->zero_point + 1) << p->shift) >> 1;
}

KERNEL void multiply_images(const multiply_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count) {
    if (multiply_is_fast(p)) {
        const multiply_t q = *p; /* `out` cannot be part of it */
        const int32_t addend = multiply_addend(&q);
        for (int i = 0; i < count; ++i) {
            out[i] = multiply_fast(&q, addend, a[i], 2 * (b[i] - q.zero_b));
        }
    } else {
        for (int i = 0; i < count; ++i) {
            out[i] = multiply_one(p, a[i], b[i]);
        }
    }
}

/* Channel by channel, so that what belongs to the gate is computed once; not where `out` covers a part of `a`. */
static inline void gate_channel(const multiply_t *p, const int8_t *a, int32_t gate, int8_t *out, int count, int channels) {
    const int32_t doubled = 2 * (gate - p->zero_b), start = -p->zero_a * doubled, addend = multiply_addend(p);
    const int32_t multiplier = p->multiplier, shift = p->shift;
    for (int i = 0; i < count; i += channels) {
        out[i] = (int8_t)__ssat(elementwise_rescale(a[i] * doubled + start, multiplier, addend, shift), 8);
    }
}

KERNEL void gate_image(const multiply_t *p, const int8_t *a, const int8_t *gate, int8_t *out, int pixels, int channels) {
    const multiply_t q = *p;
    const uintptr_t size = (uintptr_t)(pixels * channels), from = (uintptr_t)a, to = (uintptr_t)out;
    const int apart = from == to || from + size <= to || to + size <= from;
    if (multiply_is_fast(&q) && apart) {
        for (int c = 0; c < channels; ++c) {
            gate_channel(&q, a + c, gate[c], out + c, pixels * channels, channels);
        }
        return;
    }
    for (; pixels > 0; --pixels, a += channels, out += channels) {
        for (int c = 0; c < channels; ++c) {
            out[c] = multiply_one(&q, a[c], gate[c]);
        }
    }
}

KERNEL void lookup(const int8_t *table, const int8_t *in, int8_t *out, int count) {
    const int8_t *middle = table + 128, *end = in + count;
    for (; end - in >= 4; in += 4, out += 4) {
        const int8_t a = middle[in[0]], b = middle[in[1]], c = middle[in[2]], d = middle[in[3]];
        out[0] = a;
        out[1] = b;
        out[2] = c;
        out[3] = d;
    }
    while (in != end) {
        *out++ = middle[*in++];
    }
}

KERNEL void lookup_rows(const int16_t *middle, int16_t *row, int channels, int width, int row_stride) {
    for (; channels > 0; --channels, row += row_stride) {
        int16_t *at = row + ROW_LEAD, *end = at + width;
        for (; end - at >= 4; at += 4) {
            at[0] = middle[at[0]];
            at[1] = middle[at[1]];
            at[2] = middle[at[2]];
            at[3] = middle[at[3]];
        }
        for (; at != end; ++at) {
            *at = middle[*at];
        }
    }
}
