/* 1x1 convolutions, 2 channels x 4 pixels at a time: 12 instructions for 16 multiplications.

   Inside the loop all fourteen registers are taken:

       r0-r3    sums of channel c, pixels 0 to 3
       r4-r7    sums of 256 * channel c + 1 plus channel c, pixels 0 to 3
       r8       the word of weights: two halfwords 256 * w(c + 1) + w(c), for inputs k and k + 1
       r11      SXTB16 of it: w(c, k) and w(c, k + 1)
       r9, r10  words of the tile: inputs k and k + 1 of a pixel
       r12, lr  pointers into weights and tile

   The weights of channel c + 1 are never unpacked: SMLAD of the whole halfwords sums both channels in one register, and
   taking channel c away at the end leaves 256 times channel c + 1. The stack holds what does not fit, see DENSE_*.

   Requantisation takes five instructions (four where the zero point is -128, since negative results are clamped there,
   however they round):

       lsl    a, a, #1            what SMMLAR takes away
       add    t, addend, a asr 31 halves of negative numbers away from 0: the sum's sign stands for the product's; they
                                  differ only where the product is 0, which both ways rounds to 0
       smmlar a, a, multiplier, t high word of the product, rounded, plus half of the second rounding and zero point
       asr    a, a, shift
       ssat   a, 8, a

   In C (twins/dense.c) the same takes 75 to 100 % more instructions, since GCC keeps some of the sums on the stack. */
#include "../dense.h"

/* The endings, see KEEP. */
#ifndef DENSE_IMAGE
#define DENSE_IMAGE 1
#endif
#ifndef DENSE_ROWS
#define DENSE_ROWS 1
#endif
#ifndef DENSE_IMAGE_POSITIVE
#define DENSE_IMAGE_POSITIVE 1
#endif
#ifndef DENSE_ROWS_POSITIVE
#define DENSE_ROWS_POSITIVE 1
#endif

/* Where things are on the stack of dense_run; the order is that of dense_frame_t. */
typedef struct {
    const int16_t *tile, *tile_end;
    void *out, *out_second;  /* of channel c, of channel c + 1 */
    int32_t step[3];         /* image: bytes to pixels 1, 2, 3. rows: bytes from pair to pair, two zero points, unused */
    int32_t zero_point_half; /* 2 * zero point + 1: shifted left by the shift and right by 1 it is the addend */
    const int8_t *weights_end;
    const char *channel; /* 8 bytes before the pair's first record */
    int32_t kind;        /* which ending: 0 image, 1 rows; + 2 where the zero point is -128. Then its address */
    int32_t skip;        /* bytes of the unrolled loop to leave out at first. Then the address of what is left */
    int32_t odd;         /* bytes of the weights of a last channel without partner; 0: there is none */
    const int8_t *weights;
} dense_frame_t;

/* The unrolled loop. */
#define DENSE_UNROLL 8
#define DENSE_STEP_BYTES 48


#define DENSE_STEP                                                                                                     \
    "  ldr r8, [r12], #4\n"                                                                                            \
    "  ldrd r9, r10, [lr], #8\n"                                                                                       \
    "  sxtb16 r11, r8\n"                                                                                               \
    "  smlad r0, r11, r9, r0\n"                                                                                        \
    "  smlad r4, r8, r9, r4\n"                                                                                         \
    "  smlad r1, r11, r10, r1\n"                                                                                       \
    "  smlad r5, r8, r10, r5\n"                                                                                        \
    "  ldrd r9, r10, [lr], #8\n"                                                                                       \
    "  smlad r2, r11, r9, r2\n"                                                                                        \
    "  smlad r6, r8, r9, r6\n"                                                                                         \
    "  smlad r3, r11, r10, r3\n"                                                                                       \
    "  smlad r7, r8, r10, r7\n"

/* One record of the channels: multiplier to r8, shift (the lowest byte) to r10, addend to r9. */
#define DENSE_CHANNEL(at)                                                                                              \
    "  ldrd r8, r10, [r11, " at "\n"                                                                                   \
    "  ldr r9, [sp, #28]\n"                                                                                            \
    "  lsl r9, r9, r10\n"                                                                                              \
    "  asr r9, r9, #1\n"

#define DENSE_ROUND(a, saturate)                                                                                       \
    "  add lr, r9, " a ", asr #31\n"                                                                                   \
    "  smmlar " a ", " a ", r8, lr\n"                                                                                  \
    "  asr " a ", " a ", r10\n"                                                                                        \
    "  " saturate " " a ", #8, " a "\n"

/* The same where negative results are clamped to 0. */
#define DENSE_ROUND_POSITIVE(a, saturate)                                                                              \
    "  smmlar " a ", " a ", r8, r9\n"                                                                                  \
    "  asr " a ", " a ", r10\n"                                                                                        \
    "  " saturate " " a ", #8, " a "\n"

#define DENSE_FOUR(round, saturate, a, b, c, d) round(a, saturate) round(b, saturate) round(c, saturate) round(d, saturate)

#define DENSE_EIGHT(round, saturate)                                                                                   \
    "  subs r4, r4, r0\n"                                                                                              \
    "  subs r5, r5, r1\n"                                                                                              \
    "  subs r6, r6, r2\n"                                                                                              \
    "  subs r7, r7, r3\n"                                                                                              \
    "  asrs r4, r4, #7\n" /* 256 times the sum to 2 times the sum */                                                   \
    "  asrs r5, r5, #7\n"                                                                                              \
    "  asrs r6, r6, #7\n"                                                                                              \
    "  asrs r7, r7, #7\n"                                                                                              \
    "  lsls r0, r0, #1\n"                                                                                              \
    "  lsls r1, r1, #1\n"                                                                                              \
    "  lsls r2, r2, #1\n"                                                                                              \
    "  lsls r3, r3, #1\n"                                                                                              \
    "  ldr r11, [sp, #36]\n"                                                                                           \
    DENSE_CHANNEL("#8]")                                                                                               \
    DENSE_FOUR(round, saturate, "r0", "r1", "r2", "r3")                                                                \
    DENSE_CHANNEL("#16]!")                                                                                             \
    "  str r11, [sp, #36]\n"                                                                                           \
    DENSE_FOUR(round, saturate, "r4", "r5", "r6", "r7")

/* Pixels that are not there have the last pixel's place and are stored before it; so does a missing last channel. */
#define DENSE_STORE_IMAGE                                                                                              \
    "  ldrd r8, r9, [sp, #8]\n"                                                                                        \
    "  ldrd r10, r11, [sp, #16]\n"                                                                                     \
    "  ldr lr, [sp, #24]\n"                                                                                            \
    "  strb r7, [r9, lr]\n"                                                                                            \
    "  strb r3, [r8, lr]\n"                                                                                            \
    "  strb r6, [r9, r11]\n"                                                                                           \
    "  strb r2, [r8, r11]\n"                                                                                           \
    "  strb r5, [r9, r10]\n"                                                                                           \
    "  strb r1, [r8, r10]\n"                                                                                           \
    "  strb r4, [r9], #2\n"                                                                                            \
    "  strb r0, [r8], #2\n"                                                                                            \
    "  strd r8, r9, [sp, #8]\n"

#define DENSE_CENTRE                                                                                                   \
    "  ssub16 r0, r0, r11\n"                                                                                           \
    "  ssub16 r2, r2, r11\n"                                                                                           \
    "  ssub16 r4, r4, r11\n"                                                                                           \
    "  ssub16 r6, r6, r11\n"

#define DENSE_STORE_ROWS(centre)                                                                                       \
    "  ldrd r8, r9, [sp, #8]\n"                                                                                        \
    "  ldrd r10, r11, [sp, #16]\n"                                                                                     \
    "  pkhbt r0, r0, r1, lsl #16\n"                                                                                    \
    "  pkhbt r2, r2, r3, lsl #16\n"                                                                                    \
    "  pkhbt r4, r4, r5, lsl #16\n"                                                                                    \
    "  pkhbt r6, r6, r7, lsl #16\n" centre                                                                             \
    "  strd r4, r6, [r9]\n"                                                                                            \
    "  strd r0, r2, [r8]\n"                                                                                            \
    "  add r9, r9, r10\n"                                                                                              \
    "  add r8, r8, r10\n"                                                                                              \
    "  strd r8, r9, [sp, #8]\n"

#define DENSE_NEXT                                                                                                     \
    "  ldr r9, [sp, #32]\n"                                                                                            \
    "  cmp r12, r9\n"                                                                                                  \
    "  bne 1b\n"                                                                                                       \
    "  b 9f\n"

ASSEMBLY void dense_run(const dense_frame_t *frame __attribute__((unused))) {
    __asm__ volatile(
        "  push {r4-r11, lr}\n"
        "  sub sp, sp, #52\n"
        "  ldm r0!, {r1-r8}\n"
        "  stm sp, {r1-r8}\n"
        "  ldm r0, {r4-r9}\n" /* weights_end, channel, kind, skip, odd, weights */
        "  mov r12, r9\n"
        "  adr.w r9, 7f\n"
        "  ldr r6, [r9, r6, lsl #2]\n"
        "  add r6, r6, r9\n"
        "  adr.w r9, 2f\n"
        "  add r7, r7, r9\n"
        "  add r7, r7, #1\n"
        "  add r9, sp, #32\n"
        "  stm r9, {r4-r8}\n"
        "  cmp r12, r4\n"
        "  beq 9f\n"
        "1:\n"
        "  ldr r11, [sp, #36]\n"
        "  ldr lr, [sp]\n"
        "  ldr r0, [r11, #12]\n"
        "  ldr r4, [r11, #20]\n"
        "  ldr r8, [r12], #4\n"
        "  ldrd r9, r10, [lr, #8]\n"
        "  asr r0, r0, #8\n" /* bias of channel c; 256 times that of c + 1 */
        "  bic r4, r4, #255\n"
        "  add r4, r4, r0\n"
        "  sxtb16 r11, r8\n"
        "  smlad r2, r11, r9, r0\n" /* the first step starts the sums from the biases */
        "  smlad r6, r8, r9, r4\n"
        "  smlad r3, r11, r10, r0\n"
        "  smlad r7, r8, r10, r4\n"
        "  ldrd r9, r10, [lr], #16\n"
        "  smlad r1, r11, r10, r0\n"
        "  smlad r5, r8, r10, r4\n"
        "  smlad r0, r11, r9, r0\n"
        "  smlad r4, r8, r9, r4\n"
        "  ldr pc, [sp, #44]\n"
        "  .balign 4\n");
    __asm__ volatile("2:\n" DENSE_STEP DENSE_STEP DENSE_STEP DENSE_STEP);
    __asm__ volatile(
        DENSE_STEP DENSE_STEP DENSE_STEP DENSE_STEP
        "  ldr r9, [sp, #4]\n"
        "  cmp lr, r9\n"
        "  bne 2b\n"
        "  ldr pc, [sp, #40]\n"
        "  .balign 4\n"
        "7: .word 3f - 7b + 1, 4f - 7b + 1, 5f - 7b + 1, 6f - 7b + 1\n");
    __asm__ volatile("3:\n" KEEP(DENSE_IMAGE, DENSE_EIGHT(DENSE_ROUND, "ssat") DENSE_STORE_IMAGE DENSE_NEXT));
    __asm__ volatile("4:\n" KEEP(DENSE_ROWS, DENSE_EIGHT(DENSE_ROUND, "ssat") DENSE_STORE_ROWS(DENSE_CENTRE) DENSE_NEXT));
    __asm__ volatile("5:\n" KEEP(DENSE_IMAGE_POSITIVE, DENSE_EIGHT(DENSE_ROUND_POSITIVE, "ssat") DENSE_STORE_IMAGE DENSE_NEXT));
    __asm__ volatile("6:\n" KEEP(DENSE_ROWS_POSITIVE, DENSE_EIGHT(DENSE_ROUND_POSITIVE, "usat") DENSE_STORE_ROWS("") DENSE_NEXT));
    __asm__ volatile(
        "9:\n" /* all pairs are done: a last channel alone? */
        "  ldr r0, [sp, #48]\n"
        "  cbz r0, 8f\n"
        "  add r0, r0, r12\n"
        "  str r0, [sp, #32]\n"
        "  movs r0, #0\n"
        "  str r0, [sp, #48]\n"
        "  ldr r0, [sp, #8]\n"
        "  str r0, [sp, #12]\n"
        "  b 1b\n"
        "8: add sp, sp, #52\n"
        "  pop {r4-r11, pc}\n");
}

static inline void dense_frame(dense_frame_t *frame, const dense_t *p, const int16_t *tile, int kind) {
    const int pairs = (p->inputs + 1) / 2, row = pairs * 4;
    frame->tile = tile;
    frame->tile_end = tile + pairs * 8;
    frame->zero_point_half = 2 * p->zero_point + 1;
    frame->weights = p->weights;
    frame->weights_end = p->weights + p->outputs / 2 * row;
    frame->channel = (const char *)p->channels - 8;
    frame->kind = kind + (p->zero_point == -128 ? 2 : 0);
    frame->skip = pairs == 1 ? DENSE_UNROLL * DENSE_STEP_BYTES : ((1 - pairs) & (DENSE_UNROLL - 1)) * DENSE_STEP_BYTES;
    frame->odd = p->outputs % 2 ? row : 0;
}

KERNEL void dense_to_part(const dense_t *p, const int16_t *tile, int pixels, int8_t *image, int pitch) {
    dense_frame_t frame;
    dense_frame(&frame, p, tile, 0);
    frame.out = image;
    frame.out_second = image + 1;
    for (int i = 1; i < 4; ++i) {
        frame.step[i - 1] = (i < pixels ? i : pixels - 1) * pitch;
    }
    dense_run(&frame);
}

KERNEL void dense_to_image(const dense_t *p, const int16_t *tile, int pixels, int8_t *image) {
    dense_to_part(p, tile, pixels, image, p->outputs);
}

KERNEL void dense_to_rows(const dense_t *p, const int16_t *tile, int pixels, int16_t *row, int row_stride) {
    dense_frame_t frame;
    dense_frame(&frame, p, tile, 1);
    frame.out = row;
    frame.out_second = row + row_stride;
    frame.step[0] = row_stride * 4;
    frame.step[1] = (int32_t)((uint32_t)(p->zero_point & 0xffff) * 0x10001u);
    frame.step[2] = 0;
    if (frame.kind == 3) {
        frame.zero_point_half = 1; /* 0 to 255 come out, which is centred already */
    }
    dense_run(&frame);
    for (int c = 0; pixels < 4 && c < p->outputs; ++c) {
        for (int i = pixels; i < 4; ++i) {
            row[c * row_stride + i] = 0;
        }
    }
}
