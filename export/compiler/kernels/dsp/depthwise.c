/* Depthwise convolutions, 4 outputs of a channel at a time, SMLAD taking two neighbouring pixels.

   Registers in the loops:

       r0-r3    sums of 4 outputs, doubled, since SMMLAR takes a factor 2 away (the weights and biases of size 3 are
                stored doubled; those of size 5, of which there are more, as bytes)
       r4-r7    words of the input row, two pixels each
       r8, r9   words of weights, two taps each
       r10-r12  size 3: where each input row stands. Size 5: r10 is the offset of channel and group in every row, r11
                the weight without a partner
       lr       the channel's weights

   One routine: for each channel, for each group of 4 outputs, the rows of the kernel that lie inside the image (the
   jump into the unrolled rows, chosen once, leaves the others out), then one of four endings that requantise and store.
   1.7 instructions per multiplication over the layers of a small EfficientNet; specialised C took 2.2.
   What does not fit into registers is on the stack, in the order of depthwise_frame_t. */
#include "../depthwise.h"

/* Cores (size, stride, where the first tap is) and endings, see KEEP. DEPTHWISE_RARE: depthwise_row. */
#ifndef DEPTHWISE_3_1
#define DEPTHWISE_3_1 1
#endif
#ifndef DEPTHWISE_3_1_EVEN
#define DEPTHWISE_3_1_EVEN 1
#endif
#ifndef DEPTHWISE_3_2
#define DEPTHWISE_3_2 1
#endif
#ifndef DEPTHWISE_5_1
#define DEPTHWISE_5_1 1
#endif
#ifndef DEPTHWISE_5_2
#define DEPTHWISE_5_2 1
#endif
#ifndef DEPTHWISE_5_2_ODD
#define DEPTHWISE_5_2_ODD 1
#endif
#ifndef DEPTHWISE_RARE
#define DEPTHWISE_RARE 1
#endif
#ifndef DEPTHWISE_TILES
#define DEPTHWISE_TILES 1
#endif
#ifndef DEPTHWISE_STRIPS
#define DEPTHWISE_STRIPS 1
#endif
#ifndef DEPTHWISE_TILES_POSITIVE
#define DEPTHWISE_TILES_POSITIVE 1
#endif
#ifndef DEPTHWISE_STRIPS_POSITIVE
#define DEPTHWISE_STRIPS_POSITIVE 1
#endif

static inline int32_t depthwise_high(int32_t sum, int32_t multiplier, int32_t addend) {
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(sum), "r"(multiplier), "r"(addend));
    return result;
}

/* The output of a doubled sum; `half` is 2 * zero point + 1. */
static inline int16_t depthwise_round(int32_t sum, const fast_channel_t *channel, int32_t half) {
    const int32_t addend = (int32_t)((uint32_t)half << FAST_SHIFT(channel)) >> 1;
    return (int16_t)__ssat(depthwise_high(sum, channel->multiplier, addend + (sum >> 31)) >> FAST_SHIFT(channel), 8);
}

/* Bytes of a kernel row. */
static inline int depthwise_row_bytes(const depthwise_t *p) { return p->size == 3 ? 8 : 5; }

/* Tap k of a kernel row; of size 3 doubled. */
static inline int32_t depthwise_tap(const depthwise_t *p, const int8_t *row, int k) {
    static const uint8_t places[] = {0, 2, 1, 3, 4};
    const int16_t *halfwords = (const int16_t *)(const void *)row;
    const int odd = p->stride == 2 && p->pad_left % 2;
    if (p->size == 3) {
        return halfwords[p->stride == 1 && k == 2 ? 3 : k + odd];
    }
    return row[places[(k + 4 * odd) % 5]];
}

/* The sum of one output, for any size, stride and padding; of size 3 doubled. */
static inline int32_t depthwise_sum(const depthwise_t *p, const int16_t *const *rows, int rows_in, const int8_t *weights,
                                    int32_t sum, int at) {
    for (int r = 0; r < rows_in; ++r, weights += depthwise_row_bytes(p)) {
        for (int k = 0; k < p->size; ++k) {
            sum += rows[r][at + k] * depthwise_tap(p, weights, k);
        }
    }
    return sum;
}

/* Where the output goes: from channel to channel (even to odd, odd to even), from group of 4 to group (even to odd, odd
   to even), from pixel to pixel; in bytes. */
typedef struct {
    int16_t *out;
    int32_t channel[2], group[2], pixel;
} depthwise_out_t;

/* The same in C, and what stands in for the assembly where the first tap's place is rare: size 5, an odd halfword. */
static inline void depthwise_row(const depthwise_t *p, const int16_t *const *rows, int rows_in, const int8_t *weights,
                                 const depthwise_out_t *to) {
    char *channel_out = (char *)to->out;
    for (int c = 0; c < p->count; ++c, weights += depthwise_row_bytes(p) * p->size) {
        char *out = channel_out;
        for (int x = 0; x < p->width; ++x) {
            const int at = c * p->row_stride + ROW_LEAD - p->pad_left + x * p->stride;
            const int32_t sum = depthwise_sum(p, rows, rows_in, weights, FAST_BIAS(p->channels + c), at);
            const int32_t doubled = p->size == 3 ? sum : 2 * sum;
            *(int16_t *)(void *)out = depthwise_round(doubled, p->channels + c, 2 * p->zero_point + 1);
            out += x % 4 == 3 ? to->group[x / 4 & 1] - 3 * to->pixel : to->pixel;
        }
        channel_out += to->channel[c & 1];
    }
}

typedef struct {
    int32_t core, ending; /* indices, then addresses in the code */
    char *out_channel, *out, *out_end;
    int32_t group[2]; /* bytes from this group of outputs to the next, from that to the one after */
    int32_t bias, multiplier, shift, addend; /* the shift is the lowest byte */
    const fast_channel_t *channels;
    int32_t half; /* 2 * zero point + 1 */
    int32_t count, span;
    int32_t channel[2];
    int32_t row_step, weights_step; /* bytes from the end of one channel's groups to the next channel */
    const char *rows[5];
    int32_t group_first[2];
    const char *start[3]; /* into r10, r11, r12 */
    const int8_t *weights;
} depthwise_frame_t;

/* Offsets on the stack: core 0, ending 4, out_channel 8, out 12, out_end 16, group 20, bias 28, multiplier 32, shift 36,
   addend 40, channels 44, half 48, count 52, span 56, channel 60, row_step 68, weights_step 72, rows 76, group_first 96. */

/* One kernel row, size 3, stride 1: the first tap is the upper half of r4. The sums start from a, b, c, d. */
#define DW_ROW_3_1(row, at, a, b, c, d)                                                                                \
    "  ldrd r4, r5, [" row "], #8\n"                                                                                   \
    "  ldrd r6, r7, [" row "]\n"                                                                                       \
    "  ldrd r8, r9, [lr, #" at "]\n"                                                                                   \
    "  smlad r3, r6, r8, " d "\n  smlabt r3, r7, r9, r3\n"                                                             \
    "  smlatb r2, r5, r8, " c "\n  smlad r2, r6, r9, r2\n"                                                             \
    "  smlad r1, r5, r8, " b "\n  smlabt r1, r6, r9, r1\n"                                                             \
    "  smlatb r0, r4, r8, " a "\n  smlad r0, r5, r9, r0\n"

/* The same where the first tap is the lower half of r4. */
#define DW_ROW_3_1_EVEN(row, at, a, b, c, d)                                                                           \
    "  ldrd r4, r5, [" row "], #8\n"                                                                                   \
    "  ldr r6, [" row "]\n"                                                                                            \
    "  ldrd r8, r9, [lr, #" at "]\n"                                                                                   \
    "  smlatb r3, r5, r8, " d "\n  smlad r3, r6, r9, r3\n"                                                             \
    "  smlad r2, r5, r8, " c "\n  smlabt r2, r6, r9, r2\n"                                                             \
    "  smlatb r1, r4, r8, " b "\n  smlad r1, r5, r9, r1\n"                                                             \
    "  smlad r0, r4, r8, " a "\n  smlabt r0, r5, r9, r0\n"

/* Size 3, stride 2: two words an output, of which the second is the next output's first. */
#define DW_ROW_3_2(row, at, a, b, c, d)                                                                                \
    "  ldrd r4, r5, [" row "], #8\n"                                                                                   \
    "  ldrd r6, r7, [" row "], #8\n"                                                                                   \
    "  ldrd r8, r9, [lr, #" at "]\n"                                                                                   \
    "  smlad r3, r7, r8, " d "\n"                                                                                      \
    "  smlad r2, r6, r8, " c "\n  smlad r2, r7, r9, r2\n"                                                              \
    "  ldr r7, [" row "]\n"                                                                                            \
    "  smlad r1, r5, r8, " b "\n  smlad r1, r6, r9, r1\n"                                                              \
    "  smlad r0, r4, r8, " a "\n  smlad r0, r5, r9, r0\n"                                                              \
    "  smlad r3, r7, r9, r3\n"

/* Size 5, stride 1: the first tap is the lower half of r4. Weights (w0 w1) in r8, (w2 w3) in r9, w4 in r11. */
#define DW_ROW_5_1(row, at, at_4)                                                                                      \
    "  ldr r12, [sp, #" row "]\n"                                                                                      \
    "  add r12, r12, r10\n"                                                                                            \
    "  ldrd r4, r5, [r12]\n"                                                                                           \
    "  ldrd r6, r7, [r12, #8]\n"                                                                                       \
    "  ldr r8, [lr, #" at "]\n"                                                                                        \
    "  ldrsb r11, [lr, #" at_4 "]\n"                                                                                   \
    "  sxtb16 r9, r8, ror #8\n"                                                                                        \
    "  sxtb16 r8, r8\n"                                                                                                \
    "  smlad r0, r4, r8, r0\n  smlatb r1, r4, r8, r1\n"                                                                \
    "  smlad r2, r5, r8, r2\n  smlatb r3, r5, r8, r3\n"                                                                \
    "  smlabt r1, r5, r8, r1\n  smlabt r3, r6, r8, r3\n"                                                               \
    "  smlad r0, r5, r9, r0\n  smlatb r1, r5, r9, r1\n"                                                                \
    "  smlad r2, r6, r9, r2\n  smlatb r3, r6, r9, r3\n"                                                                \
    "  smlabt r1, r6, r9, r1\n  smlabt r3, r7, r9, r3\n"                                                               \
    "  smlabb r0, r6, r11, r0\n  smlatb r1, r6, r11, r1\n"                                                             \
    "  smlabb r2, r7, r11, r2\n  smlatb r3, r7, r11, r3\n"

/* Size 5, stride 2: the same. */
#define DW_ROW_5_2(row, at, at_4)                                                                                      \
    "  ldr r12, [sp, #" row "]\n"                                                                                      \
    "  add r12, r12, r10\n"                                                                                            \
    "  ldrd r4, r5, [r12]\n"                                                                                           \
    "  ldrd r6, r7, [r12, #8]\n"                                                                                       \
    "  ldr r8, [lr, #" at "]\n"                                                                                        \
    "  ldrsb r11, [lr, #" at_4 "]\n"                                                                                   \
    "  sxtb16 r9, r8, ror #8\n"                                                                                        \
    "  sxtb16 r8, r8\n"                                                                                                \
    "  smlad r0, r4, r8, r0\n  smlad r0, r5, r9, r0\n"                                                                 \
    "  smlabb r0, r6, r11, r0\n  smlad r1, r5, r8, r1\n"                                                               \
    "  smlad r1, r6, r9, r1\n  smlabb r1, r7, r11, r1\n"                                                               \
    "  ldrd r4, r5, [r12, #16]\n"                                                                                      \
    "  smlad r2, r6, r8, r2\n  smlad r2, r7, r9, r2\n"                                                                 \
    "  smlabb r2, r4, r11, r2\n  smlad r3, r7, r8, r3\n"                                                               \
    "  smlad r3, r4, r9, r3\n  smlabb r3, r5, r11, r3\n"

/* The same where the first tap is the upper half of r4: (w1 w2) in r8, (w3 w4) in r9, w0 in r11. */
#define DW_ROW_5_2_ODD(row, at, at_4)                                                                                  \
    "  ldr r12, [sp, #" row "]\n"                                                                                      \
    "  add r12, r12, r10\n"                                                                                            \
    "  ldrd r4, r5, [r12]\n"                                                                                           \
    "  ldrd r6, r7, [r12, #8]\n"                                                                                       \
    "  ldr r8, [lr, #" at "]\n"                                                                                        \
    "  ldrsb r11, [lr, #" at_4 "]\n"                                                                                   \
    "  sxtb16 r9, r8, ror #8\n"                                                                                        \
    "  sxtb16 r8, r8\n"                                                                                                \
    "  smlatb r0, r4, r11, r0\n  smlad r0, r5, r8, r0\n"                                                               \
    "  smlad r0, r6, r9, r0\n  smlatb r1, r5, r11, r1\n"                                                               \
    "  smlad r1, r6, r8, r1\n  smlad r1, r7, r9, r1\n"                                                                 \
    "  ldrd r4, r5, [r12, #16]\n"                                                                                      \
    "  smlatb r2, r6, r11, r2\n  smlad r2, r7, r8, r2\n"                                                               \
    "  smlad r2, r4, r9, r2\n  smlatb r3, r7, r11, r3\n"                                                               \
    "  smlad r3, r4, r8, r3\n  smlad r3, r5, r9, r3\n"

/* Sums of size 5 are doubled at the end. */
#define DW_DOUBLE "  lsls r0, r0, #1\n  lsls r1, r1, #1\n  lsls r2, r2, #1\n  lsls r3, r3, #1\n"

#define DW_BIAS "  ldr r0, [sp, #28]\n"
#define DW_BIASES DW_BIAS "  mov r1, r0\n  mov r2, r0\n  mov r3, r0\n"
#define DW_ENDING "  ldr pc, [sp, #4]\n"

#define DW_ROUND(a)                                                                                                    \
    "  add r7, r6, " a ", asr #31\n"                                                                                   \
    "  smmlar " a ", " a ", r4, r7\n"                                                                                  \
    "  asr " a ", " a ", r5\n"                                                                                         \
    "  ssat " a ", #8, " a "\n"

#define DW_ROUND_POSITIVE(a)                                                                                           \
    "  smmlar " a ", " a ", r4, r6\n"                                                                                  \
    "  asr " a ", " a ", r5\n"                                                                                         \
    "  ssat " a ", #8, " a "\n"

#define DW_FOUR(round)                                                                                                 \
    "  ldrd r4, r5, [sp, #32]\n" /* multiplier, shift */                                                               \
    "  ldr r6, [sp, #40]\n"      /* addend */                                                                          \
    round("r0") round("r1") round("r2") round("r3")

#define DW_NEXT_GROUP                                                                                                  \
    "  str r8, [sp, #12]\n"                                                                                            \
    "  cmp r8, r9\n"                                                                                                   \
    "  beq 8b\n"                                                                                                       \
    "  ldr pc, [sp]\n"

#define DW_TO_TILE                                                                                                     \
    "  ldrd r8, r9, [sp, #12]\n"                                                                                       \
    "  ldr r7, [sp, #20]\n"                                                                                            \
    "  strh r1, [r8, #4]\n"                                                                                            \
    "  strh r2, [r8, #8]\n"                                                                                            \
    "  strh r3, [r8, #12]\n"                                                                                           \
    "  strh r0, [r8]\n"                                                                                                \
    "  add r8, r8, r7\n"                                                                                               \
    DW_NEXT_GROUP

#define DW_TO_STRIP                                                                                                    \
    "  ldrd r8, r9, [sp, #12]\n"                                                                                       \
    "  ldrd r6, r7, [sp, #20]\n"                                                                                       \
    "  pkhbt r0, r0, r1, lsl #16\n"                                                                                    \
    "  pkhbt r2, r2, r3, lsl #16\n"                                                                                    \
    "  strd r0, r2, [r8]\n"                                                                                            \
    "  strd r7, r6, [sp, #20]\n"                                                                                       \
    "  add r8, r8, r6\n"                                                                                               \
    DW_NEXT_GROUP

#define DW_NO_CORES "  .word 0, 0, 0, 0, 0\n"

ASSEMBLY void depthwise_run(const depthwise_frame_t *frame __attribute__((unused))) {
    __asm__ volatile(
        "  push {r4-r11, lr}\n"
        "  sub sp, sp, #108\n"
        "  mov lr, sp\n"
        "  ldm r0!, {r1-r8}\n"
        "  adr.w r9, 6f\n"
        "  ldr r1, [r9, r1, lsl #2]\n"
        "  add r1, r1, r9\n"
        "  add r9, r9, #120\n" /* the 30 cores */
        "  ldr r2, [r9, r2, lsl #2]\n"
        "  add r2, r2, r9\n"
        "  stm lr!, {r1-r8}\n"
        "  ldm r0!, {r1-r8}\n"
        "  stm lr!, {r1-r8}\n"
        "  ldm r0!, {r1-r8}\n"
        "  stm lr!, {r1-r8}\n"
        "  ldm r0!, {r1-r2}\n"
        "  stm lr!, {r1-r2}\n"
        "  ldm r0, {r10-r12, lr}\n"
        "  b 1f\n"
        "8:\n" /* the channel is done: the next one */
        "  ldr r4, [sp, #52]\n"
        "  subs r4, r4, #1\n"
        "  beq 9f\n"
        "  str r4, [sp, #52]\n"
        "  ldr r5, [sp, #8]\n"
        "  ldrd r6, r7, [sp, #60]\n"
        "  strd r7, r6, [sp, #60]\n"
        "  add r5, r5, r6\n"
        "  str r5, [sp, #8]\n"
        "  ldrd r6, r7, [sp, #96]\n"
        "  strd r6, r7, [sp, #20]\n"
        "  ldrd r6, r7, [sp, #68]\n"
        "  add r10, r10, r6\n"
        "  add r11, r11, r6\n"
        "  add r12, r12, r6\n"
        "  add lr, lr, r7\n"
        "1:\n"
        "  ldr r4, [sp, #44]\n"
        "  ldm r4!, {r6, r7}\n"
        "  asr r5, r7, #8\n"
        "  str r4, [sp, #44]\n"
        "  ldr r8, [sp, #48]\n"
        "  lsl r8, r8, r7\n"
        "  asr r8, r8, #1\n"
        "  add r9, sp, #28\n"
        "  stm r9, {r5-r8}\n"
        "  ldr r8, [sp, #8]\n"
        "  ldr r9, [sp, #56]\n"
        "  add r9, r9, r8\n"
        "  strd r8, r9, [sp, #12]\n"
        "  ldr pc, [sp]\n"
        "  .balign 4\n"
        "6:\n"
        WITH(DEPTHWISE_3_1, "  .word 11f - 6b + 1, 12f - 6b + 1, 13f - 6b + 1, 0, 0\n", DW_NO_CORES)
        WITH(DEPTHWISE_3_2, "  .word 21f - 6b + 1, 22f - 6b + 1, 23f - 6b + 1, 0, 0\n", DW_NO_CORES)
        WITH(DEPTHWISE_5_1, "  .word 31f - 6b + 1, 32f - 6b + 1, 33f - 6b + 1, 34f - 6b + 1, 35f - 6b + 1\n", DW_NO_CORES)
        WITH(DEPTHWISE_5_2, "  .word 41f - 6b + 1, 42f - 6b + 1, 43f - 6b + 1, 44f - 6b + 1, 45f - 6b + 1\n", DW_NO_CORES)
        WITH(DEPTHWISE_3_1_EVEN, "  .word 61f - 6b + 1, 62f - 6b + 1, 63f - 6b + 1, 0, 0\n", DW_NO_CORES)
        WITH(DEPTHWISE_5_2_ODD, "  .word 71f - 6b + 1, 72f - 6b + 1, 73f - 6b + 1, 74f - 6b + 1, 75f - 6b + 1\n", DW_NO_CORES)
        "7: .word 51f - 7b + 1, 52f - 7b + 1, 53f - 7b + 1, 54f - 7b + 1\n");
    /* Size 3: the first row that is taken starts the sums from the bias. */
    __asm__ volatile(KEEP(
        DEPTHWISE_3_1,
            "11:\n" DW_BIAS DW_ROW_3_1("r10", "0", "r0", "r0", "r0", "r0") DW_ENDING
            "12:\n" DW_BIAS DW_ROW_3_1("r11", "8", "r0", "r0", "r0", "r0") "  b 14f\n"
            "13:\n" DW_BIAS DW_ROW_3_1("r12", "16", "r0", "r0", "r0", "r0") DW_ROW_3_1("r11", "8", "r0", "r1", "r2", "r3")
            "14:\n" DW_ROW_3_1("r10", "0", "r0", "r1", "r2", "r3") DW_ENDING));
    __asm__ volatile(KEEP(
        DEPTHWISE_3_2,
            "21:\n" DW_BIAS DW_ROW_3_2("r10", "0", "r0", "r0", "r0", "r0") DW_ENDING
            "22:\n" DW_BIAS DW_ROW_3_2("r11", "8", "r0", "r0", "r0", "r0") "  b 24f\n"
            "23:\n" DW_BIAS DW_ROW_3_2("r12", "16", "r0", "r0", "r0", "r0") DW_ROW_3_2("r11", "8", "r0", "r1", "r2", "r3")
            "24:\n" DW_ROW_3_2("r10", "0", "r0", "r1", "r2", "r3") DW_ENDING));
    __asm__ volatile(KEEP(
        DEPTHWISE_3_1_EVEN,
            "61:\n" DW_BIAS DW_ROW_3_1_EVEN("r10", "0", "r0", "r0", "r0", "r0") DW_ENDING
            "62:\n" DW_BIAS DW_ROW_3_1_EVEN("r11", "8", "r0", "r0", "r0", "r0") "  b 64f\n"
            "63:\n" DW_BIAS DW_ROW_3_1_EVEN("r12", "16", "r0", "r0", "r0", "r0") DW_ROW_3_1_EVEN("r11", "8", "r0", "r1", "r2", "r3")
            "64:\n" DW_ROW_3_1_EVEN("r10", "0", "r0", "r1", "r2", "r3") DW_ENDING));
    /* Size 5: from the last row that is inside the image to the first. */
    __asm__ volatile(KEEP(
        DEPTHWISE_5_1,
            "31:\n" DW_BIASES "  b 36f\n"
            "32:\n" DW_BIASES "  b 37f\n"
            "33:\n" DW_BIASES "  b 38f\n"
            "34:\n" DW_BIASES "  b 39f\n"
            "35:\n" DW_BIASES DW_ROW_5_1("92", "20", "24")
            "39:\n" DW_ROW_5_1("88", "15", "19")
            "38:\n" DW_ROW_5_1("84", "10", "14")
            "37:\n" DW_ROW_5_1("80", "5", "9")
            "36:\n" DW_ROW_5_1("76", "0", "4") "  add r10, r10, #8\n" DW_DOUBLE DW_ENDING));
    __asm__ volatile(KEEP(
        DEPTHWISE_5_2,
            "41:\n" DW_BIASES "  b 46f\n"
            "42:\n" DW_BIASES "  b 47f\n"
            "43:\n" DW_BIASES "  b 48f\n"
            "44:\n" DW_BIASES "  b 49f\n"
            "45:\n" DW_BIASES DW_ROW_5_2("92", "20", "24")
            "49:\n" DW_ROW_5_2("88", "15", "19")
            "48:\n" DW_ROW_5_2("84", "10", "14")
            "47:\n" DW_ROW_5_2("80", "5", "9")
            "46:\n" DW_ROW_5_2("76", "0", "4") "  add r10, r10, #16\n" DW_DOUBLE DW_ENDING));
    __asm__ volatile(KEEP(
        DEPTHWISE_5_2_ODD,
            "71:\n" DW_BIASES "  b 76f\n"
            "72:\n" DW_BIASES "  b 77f\n"
            "73:\n" DW_BIASES "  b 78f\n"
            "74:\n" DW_BIASES "  b 79f\n"
            "75:\n" DW_BIASES DW_ROW_5_2_ODD("92", "20", "24")
            "79:\n" DW_ROW_5_2_ODD("88", "15", "19")
            "78:\n" DW_ROW_5_2_ODD("84", "10", "14")
            "77:\n" DW_ROW_5_2_ODD("80", "5", "9")
            "76:\n" DW_ROW_5_2_ODD("76", "0", "4") "  add r10, r10, #16\n" DW_DOUBLE DW_ENDING));
    __asm__ volatile(
        "51:\n" KEEP(DEPTHWISE_TILES, DW_FOUR(DW_ROUND) DW_TO_TILE)
        "52:\n" KEEP(DEPTHWISE_STRIPS, DW_FOUR(DW_ROUND) DW_TO_STRIP)
        "53:\n" KEEP(DEPTHWISE_TILES_POSITIVE, DW_FOUR(DW_ROUND_POSITIVE) DW_TO_TILE)
        "54:\n" KEEP(DEPTHWISE_STRIPS_POSITIVE, DW_FOUR(DW_ROUND_POSITIVE) DW_TO_STRIP)
        "9: add sp, sp, #108\n"
        "  pop {r4-r11, pc}\n");
}

static inline void depthwise_fast(const depthwise_t *p, const int16_t *const *rows, int rows_in, const int8_t *weights,
                                  const depthwise_out_t *to) {
    const int start = (ROW_LEAD - p->pad_left) & ~1, groups = (p->width + 3) / 4;
    const int even = p->stride == 1 && p->pad_left % 2 == 0;
    int rare = DEPTHWISE_RARE && p->size == 5 && p->stride == 1 && !even;
#ifdef DEPTHWISE_IN_C
    rare = 1;
#endif
    if (rare) {
        depthwise_row(p, rows, rows_in, weights, to);
        return;
    }
    depthwise_frame_t frame;
    frame.core = (p->size == 3 ? (even ? 20 : 0) : p->stride == 2 && p->pad_left % 2 ? 20 : 10) + rows_in - 1;
    frame.core += p->stride == 2 ? 5 : 0;
    frame.ending = (p->zero_point == -128 ? 2 : 0) + (to->pixel == 2 ? 1 : 0);
    frame.out_channel = (char *)to->out;
    for (int i = 0; i < 2; ++i) {
        frame.group[i] = frame.group_first[i] = to->group[i];
        frame.channel[i] = to->channel[i];
    }
    frame.channels = p->channels;
    frame.half = 2 * p->zero_point + 1;
    frame.count = p->count;
    frame.span = (groups + 1) / 2 * to->group[0] + groups / 2 * to->group[1];
    frame.row_step = 2 * p->row_stride - 8 * p->stride * groups;
    frame.weights_step = depthwise_row_bytes(p) * p->size;
    for (int r = 0; r < rows_in; ++r) {
        frame.rows[r] = (const char *)(rows[r] + start);
    }
    for (int r = 0; r < 3; ++r) {
        frame.start[r] = p->size == 3 && r < rows_in ? frame.rows[r] : 0;
    }
    frame.weights = weights;
    depthwise_run(&frame);
}

KERNEL void depthwise_to_tiles(const depthwise_t *p, const int16_t *const *rows, int first, int rows_in, int16_t *tiles) {
    const int tile = (p->count + 1) / 2 * 16;
    const depthwise_out_t to = {tiles, {2, 14}, {tile, tile}, 4};
    depthwise_fast(p, rows, rows_in, (const int8_t *)p->weights + first * depthwise_row_bytes(p), &to);
    if (p->count % 2) {
        int16_t *partner = tiles + tile / 2 - 7;
        for (int x = 0; x < p->width; ++x) {
            partner[x / 4 * (tile / 2) + x % 4 * 2] = 0;
        }
    }
}

KERNEL void depthwise_to_strips(const depthwise_t *p, const int16_t *const *rows, int first, int rows_in, int16_t *strips,
                                int group) {
    const int strip = p->count * 16, odd = group % 2;
    const depthwise_out_t to = {
        strips + group / 2 * (strip / 2) + odd * 4, {16, 16}, {odd ? strip - 8 : 8, odd ? 8 : strip - 8}, 2};
    depthwise_fast(p, rows, rows_in, (const int8_t *)p->weights + first * depthwise_row_bytes(p), &to);
}

/* Three weights of a channel, those of the pixel on the left, on the right and in the middle, and one byte more. */
static inline uint32_t depthwise_three(const int8_t *weights) {
    uint32_t word;
    memcpy(&word, weights, sizeof word);
    return word;
}

/* Twice the sum of an output on the left: pairs of pixels times the middle and the right weight. */
static inline int32_t depthwise_left(uint32_t top, uint32_t bottom, uint32_t top_weights, uint32_t bottom_weights, int32_t bias) {
    int32_t sum = __smlabt((int32_t)top, (int32_t)__sxtb16(top_weights), bias);
    sum = __smlabt((int32_t)bottom, (int32_t)__sxtb16(bottom_weights), sum);
    sum = __smlatb((int32_t)top, (int8_t)(top_weights >> 8), sum);
    return 2 * __smlatb((int32_t)bottom, (int8_t)(bottom_weights >> 8), sum);
}

/* The same on the right: the left and the middle weight. */
static inline int32_t depthwise_right(uint32_t top, uint32_t bottom, uint32_t top_weights, uint32_t bottom_weights, int32_t bias) {
    return 2 * __smlad(bottom, __sxtb16(bottom_weights), __smlad(top, __sxtb16(top_weights), bias));
}

KERNEL void depthwise_map4(const map4_t *p, const int16_t *map4, int16_t *tile) {
    const uint32_t *x = (const uint32_t *)(const void *)map4;
    const int8_t *w = p->weights;
    const fast_channel_t *channel = p->channels;
    const int32_t half = 2 * p->zero_point + 1;
    for (int c = 0; c < p->count; ++c, x += 2, w += 9, ++channel) {
        const uint32_t above = depthwise_three(w), level = depthwise_three(w + 3), below = depthwise_three(w + 6);
        const int32_t bias = FAST_BIAS(channel);
        int16_t *out = tile + (c >> 1) * 8 + (c & 1);
        out[0] = depthwise_round(depthwise_left(x[0], x[1], level, below, bias), channel, half);
        out[2] = depthwise_round(depthwise_right(x[0], x[1], level, below, bias), channel, half);
        out[4] = depthwise_round(depthwise_left(x[0], x[1], above, level, bias), channel, half);
        out[6] = depthwise_round(depthwise_right(x[0], x[1], above, level, bias), channel, half);
    }
    if (p->count % 2) {
        int16_t *partner = tile + (p->count >> 1) * 8 + 1;
        partner[0] = partner[2] = partner[4] = partner[6] = 0;
    }
}
