#include "../depthwise.h"

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

static inline int16_t depthwise_output(const depthwise_t *p, const int16_t *const *rows, int first, int rows_in, int c, int x) {
    const fast_channel_t *channel = p->channels + c;
    int32_t sum = FAST_BIAS(channel);
    for (int r = 0; r < rows_in; ++r) {
        const int8_t *w = (const int8_t *)p->weights + (c * p->size + first + r) * depthwise_row_bytes(p);
        const int16_t *pixels = rows[r] + c * p->row_stride + ROW_LEAD - p->pad_left + x * p->stride;
        for (int k = 0; k < p->size; ++k) {
            sum += pixels[k] * depthwise_tap(p, w, k);
        }
    }
    sum = p->size == 3 ? sum / 2 : sum;
    return clamp8(rescale(sum, channel->multiplier, FAST_SHIFT(channel)) + p->zero_point);
}

KERNEL void depthwise_to_tiles(const depthwise_t *p, const int16_t *const *rows, int first, int rows_in, int16_t *tiles) {
    int tile = (p->count + 1) / 2 * 8;
    for (int x = 0; x < p->width; ++x) {
        int16_t *out = tiles + x / 4 * tile + x % 4 * 2;
        for (int c = 0; c < p->count; ++c) {
            out[(c >> 1) * 8 + (c & 1)] = depthwise_output(p, rows, first, rows_in, c, x);
        }
        if (p->count & 1) {
            out[(p->count >> 1) * 8 + 1] = 0;
        }
    }
}

KERNEL void depthwise_to_strips(const depthwise_t *p, const int16_t *const *rows, int first, int rows_in, int16_t *strips,
                                int group) {
    for (int x = 0; x < p->width; ++x) {
        int g = group + x / 4;
        int16_t *out = strips + g / 2 * p->count * 8 + g % 2 * 4 + x % 4;
        for (int c = 0; c < p->count; ++c) {
            out[c * 8] = depthwise_output(p, rows, first, rows_in, c, x);
        }
    }
}

/* The sum of output (y, x) of an image of 2 x 2 pixels. */
static inline int32_t depthwise_map4_sum(const int16_t *pixels, const int8_t *weights, int y, int x) {
    static const uint8_t places[] = {0, 2, 1}; /* left, middle, right */
    int32_t sum = 0;
    for (int i = 0; i < 4; ++i) {
        sum += pixels[i] * weights[(i / 2 - y + 1) * 3 + places[i % 2 - x + 1]];
    }
    return sum;
}

KERNEL void depthwise_map4(const map4_t *p, const int16_t *map4, int16_t *tile) {
    for (int c = 0; c < p->count; ++c) {
        const fast_channel_t *channel = p->channels + c;
        for (int i = 0; i < 4; ++i) {
            int32_t sum = FAST_BIAS(channel) + depthwise_map4_sum(map4 + c * 4, p->weights + c * 9, i / 2, i % 2);
            int32_t value = rescale(sum, channel->multiplier, FAST_SHIFT(channel)) + p->zero_point;
            tile[(c >> 1) * 8 + i * 2 + (c & 1)] = clamp8(value);
            if (c + 1 == p->count && (c & 1) == 0) {
                tile[(c >> 1) * 8 + i * 2 + 1] = 0;
            }
        }
    }
}
