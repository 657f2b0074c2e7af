/* 1x1 convolutions whose weights are mostly 0: an entry costs 13 instructions (12 if it is a word) for 8 multiplications.

   One output channel x 8 pixels at a time, or x 4 where a strip has no more (9 or 8 instructions for 4 multiplications):

       r0-r7    sums of the pixels
       r8       the entry's value; SMLABB and SMLABT take it times the lower or upper of two pixels. sparse3: the values of
                two entries, from one load by SXTB16; SMLATB and SMLATT take the second
       r9, r10  pixels
       r11      where the entry's input channel stands in the strip; sparse3: where the next one after it does
       r12      the next entry
       lr       sparse4: the strip. sparse3: the three bytes of two entries

   The first entry starts the sums from the bias; the loop is unrolled by 4 and entered where the number of entries wants
   it. Requantisation as in dense.c. The stack holds the rest, in the order of sparse_frame_t. In C (twins/sparse.c) it
   takes 40 to 55 % more instructions. */
#include "../sparse.h"

/* The endings, see KEEP. */
#ifndef SPARSE_IMAGE
#define SPARSE_IMAGE 1
#endif
#ifndef SPARSE_ROWS
#define SPARSE_ROWS 1
#endif
#ifndef SPARSE_IMAGE_POSITIVE
#define SPARSE_IMAGE_POSITIVE 1
#endif
#ifndef SPARSE_ROWS_POSITIVE
#define SPARSE_ROWS_POSITIVE 1
#endif

typedef struct {
    const int16_t *strip;
    const void *entries; /* on the stack: the end of this output's entries */
    void *out;
    const uint16_t *counts;
    const char *channel;     /* 8 bytes before the record */
    int32_t half;            /* 2 * zero point + 1 */
    const char *channel_end; /* of the last one */
    int32_t ending;          /* 0 image, 1 rows; + 2 where the zero point is -128; + 4 for 4 pixels. Then its address */
    int32_t step[7]; /* image: bytes to pixels 1 to 7. Rows: bytes from output to output, bytes to pixel 4, two zero points */
} sparse_frame_t;

/* Pixels 0 to 3 and 4 to 7 of an entry; value: the half of r8, b or t; to: what becomes of r11. */
#define SPARSE_LOW(value, to)                                                                                          \
    "  ldrd r9, r10, [r11]" to "\n"                                                                                    \
    "  smla" value "b r0, r8, r9, r0\n"                                                                                \
    "  smla" value "t r1, r8, r9, r1\n"                                                                                \
    "  smla" value "b r2, r8, r10, r2\n"                                                                               \
    "  smla" value "t r3, r8, r10, r3\n"
#define SPARSE_HIGH(value)                                                                                             \
    "  ldrd r9, r10, [r11, #8]\n"                                                                                      \
    "  smla" value "b r4, r8, r9, r4\n"                                                                                \
    "  smla" value "t r5, r8, r9, r5\n"                                                                                \
    "  smla" value "b r6, r8, r10, r6\n"                                                                               \
    "  smla" value "t r7, r8, r10, r7\n"
#define SPARSE_NO_HIGH(value) ""
/* The same from the bias in r0. */
#define SPARSE_FIRST_LOW(to)                                                                                           \
    "  ldrd r9, r10, [r11]" to "\n"                                                                                    \
    "  smlabt r3, r8, r10, r0\n"                                                                                       \
    "  smlabb r2, r8, r10, r0\n"                                                                                       \
    "  smlabt r1, r8, r9, r0\n"                                                                                        \
    "  smlabb r0, r8, r9, r0\n"
#define SPARSE_FIRST_HIGH                                                                                              \
    "  ldrd r9, r10, [r11, #8]\n"                                                                                      \
    "  smlabb r4, r8, r9, r0\n"                                                                                        \
    "  smlabt r5, r8, r9, r0\n"                                                                                        \
    "  smlabb r6, r8, r10, r0\n"                                                                                       \
    "  smlabt r7, r8, r10, r0\n"

/* One output's sums, entries of one word. */
#define SPARSE_4                                                                                                       \
    "  ldr r8, [r12], #4\n"                                                                                            \
    "  add r11, lr, r8, lsr #16\n"
#define SPARSE_4_SUMS(first_high, high)                                                                                \
    "  ldr r9, [sp, #12]\n"                                                                                            \
    "  ldrh r8, [r9], #2\n"                                                                                            \
    "  str r9, [sp, #12]\n"                                                                                            \
    "  ldr r11, [sp, #16]\n"                                                                                           \
    "  add r10, r12, r8, lsl #2\n"                                                                                     \
    "  ldr r0, [r11, #12]\n"                                                                                           \
    "  asr r0, r0, #8\n"                                                                                               \
    "  str r10, [sp, #4]\n"                                                                                            \
    SPARSE_4 first_high SPARSE_FIRST_LOW("")                                                                           \
    "  ldr r9, [sp, #4]\n"                                                                                             \
    "  sub r8, r9, r12\n"                                                                                              \
    "  ubfx r8, r8, #2, #2\n"                                                                                          \
    "  tbh [pc, r8, lsl #1]\n"                                                                                         \
    "5: .hword (9f - 5b) / 2, (8f - 5b) / 2, (7f - 5b) / 2, (6f - 5b) / 2\n"                                           \
    "4:\n" SPARSE_4 high("b") SPARSE_LOW("b", "")                                                                      \
    "6:\n" SPARSE_4 high("b") SPARSE_LOW("b", "")                                                                      \
    "7:\n" SPARSE_4 high("b") SPARSE_LOW("b", "")                                                                      \
    "8:\n" SPARSE_4 high("b") SPARSE_LOW("b", "")                                                                      \
    "9:\n"                                                                                                             \
    "  ldr r9, [sp, #4]\n"                                                                                             \
    "  cmp r12, r9\n"                                                                                                  \
    "  bne 4b\n"                                                                                                       \
    "  ldr pc, [sp, #28]\n"

/* One output's sums, two entries in three bytes: the first value, both gaps, the second value. */
#define SPARSE_3_ONE(high)                                                                                             \
    "  ldrb r9, [r12], #1\n"                                                                                           \
    "  ldrsb r8, [r12], #1\n"                                                                                          \
    "  add r11, r11, r9, lsl #4\n" high("b") SPARSE_LOW("b", ", #16")
#define SPARSE_3_TWO(high)                                                                                             \
    "  ldr lr, [r12], #3\n"                                                                                            \
    "  and r9, lr, #0xf00\n"                                                                                           \
    "  sxtb16 r8, lr\n"                                                                                                \
    "  add r11, r11, r9, lsr #4\n" high("b") SPARSE_LOW("b", ", #16")                                                  \
    "  and r9, lr, #0xf000\n"                                                                                          \
    "  add r11, r11, r9, lsr #8\n" high("t") SPARSE_LOW("t", ", #16")
#define SPARSE_3_SUMS(first_high, high)                                                                                \
    "  ldrb lr, [r12], #1\n"                                                                                           \
    "  ldr r11, [sp, #16]\n"                                                                                           \
    "  ldrb r9, [r12], #1\n"                                                                                           \
    "  ldrsb r8, [r12], #1\n"                                                                                          \
    "  ldr r0, [r11, #12]\n"                                                                                           \
    "  ldr r11, [sp]\n"                                                                                                \
    "  add r10, lr, #1\n"                                                                                              \
    "  add r10, lr, r10, lsr #1\n"                                                                                     \
    "  asr r0, r0, #8\n"                                                                                               \
    "  add r10, r10, r12\n"                                                                                            \
    "  str r10, [sp, #4]\n"                                                                                            \
    "  add r11, r11, r9, lsl #4\n" first_high SPARSE_FIRST_LOW(", #16")                                                \
    "  and lr, lr, #3\n"                                                                                               \
    "  tbh [pc, lr, lsl #1]\n"                                                                                         \
    "5: .hword (9f - 5b) / 2, (7f - 5b) / 2, (8f - 5b) / 2, (6f - 5b) / 2\n"                                           \
    "6:\n" SPARSE_3_ONE(high)                                                                                          \
    "  b 8f\n"                                                                                                         \
    "7:\n" SPARSE_3_ONE(high)                                                                                          \
    "  b 9f\n"                                                                                                         \
    "4:\n" SPARSE_3_TWO(high)                                                                                          \
    "8:\n" SPARSE_3_TWO(high)                                                                                          \
    "9:\n"                                                                                                             \
    "  ldr r9, [sp, #4]\n"                                                                                             \
    "  cmp r12, r9\n"                                                                                                  \
    "  bne 4b\n"                                                                                                       \
    "  ldr pc, [sp, #28]\n"

#define SPARSE_ROUND(a, saturate)                                                                                      \
    "  lsl " a ", " a ", #1\n"                                                                                         \
    "  add r11, r9, " a ", asr #31\n"                                                                                  \
    "  smmlar " a ", " a ", r8, r11\n"                                                                                 \
    "  asr " a ", " a ", r10\n"                                                                                        \
    "  " saturate " " a ", #8, " a "\n"

/* The same where negative results are clamped to 0. */
#define SPARSE_ROUND_POSITIVE(a, saturate)                                                                             \
    "  lsl " a ", " a ", #1\n"                                                                                         \
    "  smmlar " a ", " a ", r8, r9\n"                                                                                  \
    "  asr " a ", " a ", r10\n"                                                                                        \
    "  " saturate " " a ", #8, " a "\n"

#define SPARSE_ROUND_4(round, saturate)                                                                                \
    "  ldr r11, [sp, #16]\n"                                                                                           \
    "  ldr r9, [sp, #20]\n"                                                                                            \
    "  ldrd r8, r10, [r11, #8]!\n"                                                                                     \
    "  str r11, [sp, #16]\n"                                                                                           \
    "  lsl r9, r9, r10\n"                                                                                              \
    "  asr r9, r9, #1\n"                                                                                               \
    round("r0", saturate) round("r1", saturate) round("r2", saturate) round("r3", saturate)
#define SPARSE_ROUND_8(round, saturate)                                                                                \
    SPARSE_ROUND_4(round, saturate)                                                                                    \
    round("r4", saturate) round("r5", saturate) round("r6", saturate) round("r7", saturate)

/* Pixels that are not there have the last pixel's place and are stored before it. */
#define SPARSE_IMAGE_HIGH                                                                                              \
    "  ldrd r9, r10, [sp, #52]\n"                                                                                      \
    "  strb r7, [r8, r10]\n"                                                                                           \
    "  strb r6, [r8, r9]\n"                                                                                            \
    "  ldrd r9, r10, [sp, #44]\n"                                                                                      \
    "  strb r5, [r8, r10]\n"                                                                                           \
    "  strb r4, [r8, r9]\n"
#define SPARSE_TO_IMAGE(high)                                                                                          \
    "  ldr r8, [sp, #8]\n"                                                                                             \
    high                                                                                                               \
    "  ldrd r9, r10, [sp, #36]\n"                                                                                      \
    "  strb r3, [r8, r10]\n"                                                                                           \
    "  strb r2, [r8, r9]\n"                                                                                            \
    "  ldr r10, [sp, #32]\n"                                                                                           \
    "  strb r1, [r8, r10]\n"                                                                                           \
    "  strb r0, [r8], #1\n"                                                                                            \
    "  str r8, [sp, #8]\n"

#define SPARSE_CENTRE "  ldr r11, [sp, #40]\n  ssub16 r0, r0, r11\n  ssub16 r2, r2, r11\n"
#define SPARSE_CENTRE_HIGH "  ssub16 r4, r4, r11\n  ssub16 r6, r6, r11\n"
#define SPARSE_ROWS_HIGH(centre)                                                                                       \
    "  pkhbt r4, r4, r5, lsl #16\n"                                                                                    \
    "  pkhbt r6, r6, r7, lsl #16\n" centre                                                                             \
    "  add r11, r8, r10\n"                                                                                             \
    "  strd r4, r6, [r11]\n"
#define SPARSE_TO_ROWS(centre, high)                                                                                   \
    "  ldr r8, [sp, #8]\n"                                                                                             \
    "  ldrd r9, r10, [sp, #32]\n"                                                                                      \
    "  pkhbt r0, r0, r1, lsl #16\n"                                                                                    \
    "  pkhbt r2, r2, r3, lsl #16\n" centre                                                                             \
    high                                                                                                               \
    "  strd r0, r2, [r8]\n"                                                                                            \
    "  add r8, r8, r9\n"                                                                                               \
    "  str r8, [sp, #8]\n"

#define SPARSE_NEXT(back)                                                                                              \
    "  ldr r9, [sp, #16]\n"                                                                                            \
    "  ldr r8, [sp, #24]\n"                                                                                            \
    "  cmp r9, r8\n"                                                                                                   \
    "  bne.w " back "\n"                                                                                               \
    "  b.w 3f\n"

/* The ways in: 8 pixels at 1, 4 pixels at 2. */
#define SPARSE_BEGIN                                                                                                   \
    "  push {r4-r11, lr}\n"                                                                                            \
    "  sub sp, sp, #60\n"                                                                                              \
    "  mov lr, sp\n"                                                                                                   \
    "  ldm r0!, {r1-r8}\n"                                                                                             \
    "  mov r12, r2\n"                                                                                                  \
    "  adr.w r9, 10f\n"                                                                                                \
    "  ldr r10, [r9, r8, lsl #2]\n"                                                                                    \
    "  cmp r8, #4\n"                                                                                                   \
    "  add r8, r9, r10\n"                                                                                              \
    "  stm lr!, {r1-r8}\n"                                                                                             \
    "  ldm r0, {r2-r8}\n"                                                                                              \
    "  stm lr, {r2-r8}\n"                                                                                              \
    "  mov lr, r1\n"                                                                                                   \
    "  bge.w 2f\n"
#define SPARSE_TABLE                                                                                                   \
    "  .balign 4\n"                                                                                                    \
    "10: .word 11f - 10b + 1, 12f - 10b + 1, 13f - 10b + 1, 14f - 10b + 1\n"                                           \
    "  .word 15f - 10b + 1, 16f - 10b + 1, 17f - 10b + 1, 18f - 10b + 1\n"
#define SPARSE_END                                                                                                     \
    "3: add sp, sp, #60\n"                                                                                             \
    "  pop {r4-r11, pc}\n"

/* In pieces, since ISO C promises strings of 4095 characters only. */
#define SPARSE_RUN(sums)                                                                                               \
    __asm__ volatile(SPARSE_BEGIN);                                                                                    \
    __asm__ volatile("1:\n" sums(SPARSE_FIRST_HIGH, SPARSE_HIGH) SPARSE_TABLE);                                        \
    __asm__ volatile("11:\n" KEEP(SPARSE_IMAGE, SPARSE_ROUND_8(SPARSE_ROUND, "ssat")                                   \
                                 SPARSE_TO_IMAGE(SPARSE_IMAGE_HIGH) SPARSE_NEXT("1b")));                               \
    __asm__ volatile("12:\n" KEEP(SPARSE_ROWS, SPARSE_ROUND_8(SPARSE_ROUND, "ssat")                                    \
                                 SPARSE_TO_ROWS(SPARSE_CENTRE, SPARSE_ROWS_HIGH(SPARSE_CENTRE_HIGH)) SPARSE_NEXT("1b")));\
    __asm__ volatile("13:\n" KEEP(SPARSE_IMAGE_POSITIVE, SPARSE_ROUND_8(SPARSE_ROUND_POSITIVE, "ssat")                 \
                                 SPARSE_TO_IMAGE(SPARSE_IMAGE_HIGH) SPARSE_NEXT("1b")));                               \
    __asm__ volatile("14:\n" KEEP(SPARSE_ROWS_POSITIVE, SPARSE_ROUND_8(SPARSE_ROUND_POSITIVE, "usat")                  \
                                 SPARSE_TO_ROWS("", SPARSE_ROWS_HIGH("")) SPARSE_NEXT("1b")));                         \
    __asm__ volatile("2:\n" sums("", SPARSE_NO_HIGH));                                                                 \
    __asm__ volatile("15:\n" KEEP(SPARSE_IMAGE, SPARSE_ROUND_4(SPARSE_ROUND, "ssat")                                   \
                                 SPARSE_TO_IMAGE("") SPARSE_NEXT("2b")));                                              \
    __asm__ volatile("16:\n" KEEP(SPARSE_ROWS, SPARSE_ROUND_4(SPARSE_ROUND, "ssat")                                    \
                                 SPARSE_TO_ROWS(SPARSE_CENTRE, "") SPARSE_NEXT("2b")));                                \
    __asm__ volatile("17:\n" KEEP(SPARSE_IMAGE_POSITIVE, SPARSE_ROUND_4(SPARSE_ROUND_POSITIVE, "ssat")                 \
                                 SPARSE_TO_IMAGE("") SPARSE_NEXT("2b")));                                              \
    __asm__ volatile("18:\n" KEEP(SPARSE_ROWS_POSITIVE, SPARSE_ROUND_4(SPARSE_ROUND_POSITIVE, "usat")                  \
                                 SPARSE_TO_ROWS("", "") SPARSE_NEXT("2b")));                                           \
    __asm__ volatile(SPARSE_END)

ASSEMBLY void sparse3_run(const sparse_frame_t *frame __attribute__((unused))) {
    SPARSE_RUN(SPARSE_3_SUMS);
}

ASSEMBLY void sparse4_run(const sparse_frame_t *frame __attribute__((unused))) {
    SPARSE_RUN(SPARSE_4_SUMS);
}

static inline void sparse_image_frame(sparse_frame_t *frame, const sparse_t *p, const int16_t *strip, int pixels,
                                      int8_t *image) {
    const sparse_frame_t begun = {
        strip,
        p->entries,
        image,
        p->counts,
        (const char *)p->channels - 8,
        2 * p->zero_point + 1,
        (const char *)(p->channels + p->outputs) - 8,
        (p->zero_point == -128 ? 2 : 0) + (pixels <= 4 ? 4 : 0),
        {0, 0, 0, 0, 0, 0, 0},
    };
    *frame = begun;
    for (int i = 1; i < 8; ++i) {
        frame->step[i - 1] = (i < pixels ? i : pixels - 1) * p->outputs;
    }
}

static inline void sparse_rows_frame(sparse_frame_t *frame, const sparse_t *p, const int16_t *strip, int pixels, int16_t *row,
                                     const int32_t steps[2]) {
    sparse_image_frame(frame, p, strip, pixels, 0);
    frame->out = row;
    frame->ending += 1;
    frame->half = p->zero_point == -128 ? 1 : frame->half; /* 0 to 255 come out, which is centred already */
    frame->step[0] = 2 * steps[0];
    frame->step[1] = 2 * steps[1];
    frame->step[2] = (int32_t)((uint32_t)(p->zero_point & 0xffff) * 0x10001u);
}

/* 0 in pixels that are not there. */
static inline void sparse_clear(const sparse_t *p, int pixels, int16_t *row, const int32_t steps[2]) {
    const int end = pixels > 4 ? 8 : 4;
    for (int c = 0; pixels < end && c < p->outputs; ++c, row += steps[0]) {
        for (int i = pixels; i < end; ++i) {
            row[i < 4 ? i : steps[1] + i - 4] = 0;
        }
    }
}

KERNEL void sparse3_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    sparse_frame_t frame;
    sparse_image_frame(&frame, p, strip, pixels, image);
    sparse3_run(&frame);
}

KERNEL void sparse3_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const int32_t steps[2] = {row_stride, row_step};
    sparse_frame_t frame;
    sparse_rows_frame(&frame, p, strip, pixels, row, steps);
    sparse3_run(&frame);
    sparse_clear(p, pixels, row, steps);
}

KERNEL void sparse4_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image) {
    sparse_frame_t frame;
    sparse_image_frame(&frame, p, strip, pixels, image);
    sparse4_run(&frame);
}

KERNEL void sparse4_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step) {
    const int32_t steps[2] = {row_stride, row_step};
    sparse_frame_t frame;
    sparse_rows_frame(&frame, p, strip, pixels, row, steps);
    sparse4_run(&frame);
    sparse_clear(p, pixels, row, steps);
}
