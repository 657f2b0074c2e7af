/* Between images and layouts of int16, four bytes at a time: SXTB16 widens bytes 0 and 2 of a word and, turned by 8 bits,
   1 and 3; PKHBT and PKHTB then put halves together. Some 2 instructions per value. */
#include "../convert.h"

static inline uint32_t convert_word(const int8_t *bytes) {
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline void convert_store(int16_t *to, uint32_t word) { memcpy(to, &word, sizeof word); }

/* Bytes 1 and 3, widened. */
static inline uint32_t convert_odd_bytes(uint32_t word) {
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

/* The lower halves of both, the upper halves of both: `first` below. */
static inline uint32_t convert_lower(uint32_t first, uint32_t second) {
    uint32_t result;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(first), "r"(second));
    return result;
}

static inline uint32_t convert_upper(uint32_t first, uint32_t second) {
    uint32_t result;
    __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(result) : "r"(first), "r"(second));
    return result;
}

/* Bytes 0, 1 and bytes 2, 3 of a word, to the two places of one pixel in a tile. */
static inline void convert_four(uint32_t word, int16_t *to) {
    const uint32_t even = __sxtb16(word), odd = convert_odd_bytes(word);
    convert_store(to, convert_lower(even, odd));
    convert_store(to + 8, convert_upper(even, odd));
}

/* `count` bytes (1 or more) of one pixel -> values k, k + 1, ... of a tile; `to` is where the pixel's value 0 is. */
ONE_COPY void convert_run(const int8_t *from, int count, int16_t *to, int k) {
    const int8_t *end = from + count;
    to += k / 2 * 8;
    if (k % 2) {
        to[1] = *from++;
        to += 8;
    }
    for (; end - from >= 8; from += 8, to += 32) {
        convert_four(convert_word(from), to);
        convert_four(convert_word(from + 4), to + 16);
    }
    if (end - from >= 4) {
        convert_four(convert_word(from), to);
        from += 4;
        to += 16;
    }
    for (; end - from >= 2; from += 2, to += 8) {
        to[0] = from[0];
        to[1] = from[1];
    }
    if (from != end) {
        to[0] = *from;
    }
}

/* One value of four pixels. */
static inline void convert_bytes(int8_t a, int8_t b, int8_t c, int8_t d, int16_t *to) {
    to[0] = a;
    to[2] = b;
    to[4] = c;
    to[6] = d;
}

/* The same for four pixels, `pitch` bytes apart; `to` is the tile. */
static inline void convert_runs(const int8_t *from, int pitch, int count, int16_t *to, int k) {
    const int8_t *a = from, *b = a + pitch, *c = b + pitch, *d = c + pitch, *end = from + count;
    to += k / 2 * 8;
    if (k % 2) {
        convert_bytes(*a++, *b++, *c++, *d++, to + 1);
        to += 8;
    }
    for (; end - a >= 4; a += 4, b += 4, c += 4, d += 4, to += 16) {
        convert_four(convert_word(a), to);
        convert_four(convert_word(b), to + 2);
        convert_four(convert_word(c), to + 4);
        convert_four(convert_word(d), to + 6);
    }
    if (end - a >= 2) {
        convert_bytes(*a++, *b++, *c++, *d++, to);
        convert_bytes(*a++, *b++, *c++, *d++, to + 1);
        to += 8;
    }
    if (a != end) {
        convert_bytes(*a, *b, *c, *d, to);
    }
}

ONE_COPY void convert_fill(int value, int count, int16_t *to, int k) {
    const uint32_t pair = (uint32_t)(value & 0xffff) * 0x10001u;
    if (count == 0) {
        return;
    }
    to += k / 2 * 8;
    if (k % 2) {
        to[1] = (int16_t)value;
        to += 8;
        --count;
    }
    for (; count >= 2; count -= 2, to += 8) {
        convert_store(to, pair);
    }
    if (count) {
        to[0] = (int16_t)value;
    }
}

KERNEL void widen_tile(const int8_t *image, int channels, int pixels, int16_t *tile) {
    if (pixels == 4) {
        convert_runs(image, channels, channels, tile, 0);
    }
    for (int i = 0; i < pixels && pixels < 4; ++i) {
        convert_run(image + i * channels, channels, tile + i * 2, 0);
    }
    if (channels % 2) {
        int16_t *partner = tile + channels / 2 * 8 + 1;
        partner[0] = partner[2] = partner[4] = partner[6] = 0;
    }
}

/* Two pixels of four channels -> a word for each channel. */
static inline void convert_two_pixels(const int8_t *first, const int8_t *second, uint32_t pairs[4]) {
    const uint32_t a = convert_word(first), b = convert_word(second);
    const uint32_t a_even = __sxtb16(a), b_even = __sxtb16(b), a_odd = convert_odd_bytes(a), b_odd = convert_odd_bytes(b);
    pairs[0] = convert_lower(a_even, b_even);
    pairs[1] = convert_lower(a_odd, b_odd);
    pairs[2] = convert_upper(a_even, b_even);
    pairs[3] = convert_upper(a_odd, b_odd);
}

KERNEL void widen_strip(const int8_t *image, int channels, int pixels, int16_t *strip) {
    for (int i = 0; i < pixels; i += 2, image += 2 * channels) {
        const int8_t *first = image, *second = i + 1 < pixels ? image + channels : image; /* pixels after the last: anything */
        int16_t *to = strip + i, *end = to + channels * 8;
        for (; end - to >= 32; to += 32, first += 4, second += 4) {
            uint32_t pairs[4];
            convert_two_pixels(first, second, pairs);
            convert_store(to, pairs[0]);
            convert_store(to + 8, pairs[1]);
            convert_store(to + 16, pairs[2]);
            convert_store(to + 24, pairs[3]);
        }
        for (; to != end; to += 8) {
            to[0] = *first++;
            to[1] = *second++;
        }
    }
}

/* Two values of a pixel, as halfwords -> as bytes. */
static inline void convert_narrow(const int16_t *from, int8_t *to) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    const uint32_t bytes = __uxtb16(word);
    const uint16_t pair = (uint16_t)(bytes | bytes >> 8);
    memcpy(to, &pair, sizeof pair);
}

KERNEL void narrow_tile(const int16_t *tile, int channels, int pixels, int8_t *image) {
    for (int c = 0; c + 1 < channels; c += 2, tile += 8, image += 2) {
        int8_t *to = image;
        if (pixels == 4) {
            convert_narrow(tile, to);
            convert_narrow(tile + 2, to + channels);
            convert_narrow(tile + 4, to + 2 * channels);
            convert_narrow(tile + 6, to + 3 * channels);
            continue;
        }
        for (int i = 0; i < pixels; ++i, to += channels) {
            convert_narrow(tile + i * 2, to);
        }
    }
    if (channels % 2) {
        for (int i = 0; i < pixels; ++i) {
            image[i * channels] = (int8_t)tile[i * 2];
        }
    }
}

KERNEL void spread_row(const int8_t *image, int channels, int width, int zero_point, int16_t *row, int row_stride) {
    const uint32_t zero_points = (uint32_t)(zero_point & 0xffff) * 0x10001u;
    int c = 0;
    for (; channels - c >= 4; c += 4) {
        const int8_t *from = image + c;
        int16_t *first = row + c * row_stride + ROW_LEAD, *second = first + row_stride;
        int16_t *third = second + row_stride, *fourth = third + row_stride, *end = first + width / 2 * 2;
        for (; first != end; first += 2, second += 2, third += 2, fourth += 2, from += 2 * channels) {
            uint32_t pairs[4];
            convert_two_pixels(from, from + channels, pairs);
            convert_store(first, __ssub16(pairs[0], zero_points));
            convert_store(second, __ssub16(pairs[1], zero_points));
            convert_store(third, __ssub16(pairs[2], zero_points));
            convert_store(fourth, __ssub16(pairs[3], zero_points));
        }
        if (width % 2) {
            *first = (int16_t)(from[0] - zero_point);
            *second = (int16_t)(from[1] - zero_point);
            *third = (int16_t)(from[2] - zero_point);
            *fourth = (int16_t)(from[3] - zero_point);
        }
    }
    for (; c < channels; ++c) {
        const int8_t *from = image + c;
        for (int16_t *to = row + c * row_stride + ROW_LEAD, *end = to + width; to != end; ++to, from += channels) {
            *to = (int16_t)(*from - zero_point);
        }
    }
}

/* One row of one window: what lies in the image is copied, what lies beside it is the zero point. */
static inline void gather_clipped(const gather_t *p, const int8_t *row, int left, int16_t *to, int k) {
    const int ahead = left < 0 ? (-left < p->size_x ? -left : p->size_x) : 0;
    const int after = left + p->size_x - p->width, behind = after < 0 ? 0 : after < p->size_x ? after : p->size_x;
    const int inside = p->size_x - ahead - behind;
    convert_fill(p->zero_point, ahead * p->inputs, to, k);
    if (inside > 0) {
        convert_run(row + (left + ahead) * p->inputs, inside * p->inputs, to, k + ahead * p->inputs);
    }
    convert_fill(p->zero_point, behind * p->inputs, to, k + (ahead + inside) * p->inputs);
}

/* The windows of four pixels next to each other, all of whose columns are in the image. */
static inline void gather_inside(const gather_t *p, const int8_t *image, int top, int left, int16_t *tile) {
    const int run = p->size_x * p->inputs;
    for (int row = top, k = 0; row < top + p->size_y; ++row, k += run) {
        if (row < 0 || row >= p->height) {
            for (int i = 0; i < 8; i += 2) {
                convert_fill(p->zero_point, run, tile + i, k);
            }
        } else {
            convert_runs(image + (row * p->width + left) * p->inputs, p->stride_x * p->inputs, run, tile, k);
        }
    }
}

/* A 3x3 window of 3 channels (the first layer of most networks): three rows of nine bytes, `pitch` apart. */
static inline void gather_nine(const int8_t *from, int pitch, int16_t *to) {
    const int8_t *second = from + pitch, *third = second + pitch;
    convert_four(convert_word(from), to);
    convert_four(convert_word(from + 4), to + 16);
    to[32] = from[8];
    to[33] = second[0];
    convert_four(convert_word(second + 1), to + 40);
    convert_four(convert_word(second + 5), to + 56);
    convert_four(convert_word(third), to + 72);
    convert_four(convert_word(third + 4), to + 88);
    to[104] = third[8];
}

KERNEL void gather_tile(const gather_t *p, const int8_t *image, int y, int x, int pixels, int16_t *tile) {
    const int run = p->size_x * p->inputs, values = p->size_y * run, top = y * p->stride_y - p->pad_top;
    const int first_left = x * p->stride_x - p->pad_left;
    const int nine = run == 9 && p->size_y == 3 && top >= 0 && top + 3 <= p->height;
    if (!nine && pixels == 4 && first_left >= 0 && first_left + 3 * p->stride_x + p->size_x <= p->width) {
        gather_inside(p, image, top, first_left, tile);
        pixels = 0;
    }
    for (int i = 0; i < pixels; ++i) {
        const int left = first_left + i * p->stride_x, clipped = left < 0 || left + p->size_x > p->width;
        if (nine && !clipped) {
            gather_nine(image + (top * p->width + left) * p->inputs, p->width * p->inputs, tile + i * 2);
            continue;
        }
        for (int row = top, k = 0; row < top + p->size_y; ++row, k += run) {
            const int8_t *from = image + row * p->width * p->inputs;
            if (row < 0 || row >= p->height) {
                convert_fill(p->zero_point, run, tile + i * 2, k);
            } else if (clipped) {
                gather_clipped(p, from, left, tile + i * 2, k);
            } else {
                convert_run(from + left * p->inputs, run, tile + i * 2, k);
            }
        }
    }
    if (values % 2) {
        int16_t *partner = tile + values / 2 * 8 + 1;
        partner[0] = partner[2] = partner[4] = partner[6] = 0;
    }
}
