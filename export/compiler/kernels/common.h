/* What every kernel uses: types, TFLite's requantisation, and the choice between DSP and portable code. */
#ifndef COMMON_H
#define COMMON_H

#include <stdint.h>
#include <string.h>

#ifndef KERNEL
#define KERNEL static
#endif

/* Microcontrollers only: the assembly is Thumb, and larger processors have better instructions. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && __ARM_ARCH_PROFILE == 'M' && !defined(PORTABLE_KERNELS)
#define DSP_KERNELS 1
#include <arm_acle.h>
/* A function whose whole body is assembly. `used`: it takes arguments that the compiler does not see it use. */
#define ASSEMBLY static __attribute__((naked, noinline, used))
#else
#define DSP_KERNELS 0
#endif

/* Weights that are read as words start on a word. A helper below may be one that a model does not need. ONE_COPY begins a
   helper that is called from several places, none of them worth a copy of its own. */
#if defined(__GNUC__)
#define ALIGN4 __attribute__((aligned(4)))
#define MAYBE_UNUSED __attribute__((unused))
#define ONE_COPY static __attribute__((noinline, unused))
#else
#define ALIGN4
#define MAYBE_UNUSED
#define ONE_COPY static
#endif

/* Pieces of kernels that a model may do without: a macro is 0 where it does, which the compiler knows for each model. */
#define WITH_0(text, without) without
#define WITH_1(text, without) text
#define WITH_AS(kept, text, without) WITH_##kept(text, without)
#define WITH(piece, text, without) WITH_AS(piece, text, without)
#define KEEP(piece, text) WITH(piece, text, "")

/* Halfwords before pixel 0 in the layout `rows`. */
#define ROW_LEAD 2

/* One output channel: its bias, and the factor multiplier / 2^31 / 2^shift (shift below 0: a left shift, done first). */
typedef struct {
    int32_t bias, multiplier, shift;
} channel_t;

/* The same in 8 bytes, for the fast kernels: -2^23 <= bias < 2^23, and 1 <= shift <= 22. */
typedef struct {
    int32_t multiplier, bias_and_shift; /* bias * 256 + shift; a processor that shifts by a register reads 8 bits of it */
} fast_channel_t;

#define FAST_BIAS(channel) ((channel)->bias_and_shift >> 8)
#define FAST_SHIFT(channel) ((channel)->bias_and_shift & 255)

/* a * b / 2^31, rounded to the nearest: SaturatingRoundingDoublingHighMul, b being positive. */
static inline MAYBE_UNUSED int32_t high_product(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* x / 2^shift, rounded to the nearest, halves away from 0: RoundingDivideByPOT. */
static inline MAYBE_UNUSED int32_t rounding_shift(int32_t x, int32_t shift) {
    if (shift == 0) {
        return x;
    }
    return (int32_t)(((int64_t)x + ((int64_t)1 << (shift - 1)) - (x < 0)) >> shift);
}

/* MultiplyByQuantizedMultiplier, rounding twice. */
static inline MAYBE_UNUSED int32_t rescale(int32_t x, int32_t multiplier, int32_t shift) {
    if (shift < 0) {
        x = (int32_t)((uint32_t)x << -shift);
        shift = 0;
    }
    return rounding_shift(high_product(x, multiplier), shift);
}

static inline MAYBE_UNUSED int32_t clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

static inline MAYBE_UNUSED int8_t clamp8(int32_t x) {
    return (int8_t)clamp(x, -128, 127);
}

#endif
