#include "../depthwise.h"

/* Tap k of a kernel row of 8 bytes; of size 3 doubled. */
static inline int32_t depthwise_tap(const depthwise_t *p, const int8_t *row, int k) {
    static const uint8_t places[] = {0, 2, 1, 3, 4, 6};
    const int16_t *halfwords = (const int16_t *)(const void *)row;
    const int place = p->stride == 2 ? k + (p->pad_left & 1) : k;
    if (p->size == 3) {
        return halfwords[p->stride == 1 && k == 2 ? 3 : place];
    }
    return row[p->stride == 1 && k == 4 ? 7 : places[place]];
}

static inline int16_t depthwise_output(const depthwise_t *p, const int16_t *const *rows, int first, int rows_in, int c, int x) {
    const fast_channel_t *channel = p->channels + c;
    int32_t sum = FAST_BIAS(channel);
    for (int r = 0; r < rows_in; ++r) {
        const int8_t *w = (const int8_t *)p->weights + (c * p->size + first + r) * 8;
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

KERNEL void depthwise_map4(const map4_t *p, const int16_t *map4, int16_t *tile) {
    for (int c = 0; c < p->count; ++c) {
        const int16_t *x = map4 + c * 4;
        const int8_t *w = p->weights + c * 16;
        const fast_channel_t *channel = p->channels + c;
        for (int i = 0; i < 4; ++i, w += 4) {
            int32_t sum = FAST_BIAS(channel) + x[0] * w[0] + x[2] * w[1] + x[1] * w[2] + x[3] * w[3];
            int32_t value = rescale(sum, channel->multiplier, FAST_SHIFT(channel)) + p->zero_point;
            tile[(c >> 1) * 8 + i * 2 + (c & 1)] = clamp8(value);
            if (c + 1 == p->count && (c & 1) == 0) {
                tile[(c >> 1) * 8 + i * 2 + 1] = 0;
            }
        }
    }
}
