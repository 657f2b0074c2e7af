#include "../convert.h"

/* Where channel c of pixel i is in a tile. */
static inline int convert_in_tile(int c, int i) {
    return (c >> 1) * 8 + i * 2 + (c & 1);
}

KERNEL void widen_tile(const int8_t *image, int channels, int pixels, int16_t *tile) {
    for (int i = 0; i < pixels; ++i) {
        for (int c = 0; c < channels; ++c) {
            tile[convert_in_tile(c, i)] = image[i * channels + c];
        }
        if (channels & 1) {
            tile[convert_in_tile(channels, i)] = 0;
        }
    }
}

KERNEL void widen_strip(const int8_t *image, int channels, int pixels, int16_t *strip) {
    for (int i = 0; i < pixels; ++i) {
        for (int c = 0; c < channels; ++c) {
            strip[c * 8 + i] = image[i * channels + c];
        }
    }
}

KERNEL void narrow_tile(const int16_t *tile, int channels, int pixels, int8_t *image) {
    for (int i = 0; i < pixels; ++i) {
        for (int c = 0; c < channels; ++c) {
            image[i * channels + c] = (int8_t)tile[convert_in_tile(c, i)];
        }
    }
}

KERNEL void spread_row(const int8_t *image, int channels, int width, int zero_point, int16_t *row, int row_stride) {
    for (int c = 0; c < channels; ++c) {
        for (int x = 0; x < width; ++x) {
            row[c * row_stride + ROW_LEAD + x] = (int16_t)(image[x * channels + c] - zero_point);
        }
    }
}

KERNEL void gather_tile(const gather_t *p, const int8_t *image, int y, int x, int pixels, int16_t *tile) {
    int values = p->size_y * p->size_x * p->inputs;
    for (int i = 0; i < pixels; ++i) {
        int top = y * p->stride_y - p->pad_top, left = (x + i) * p->stride_x - p->pad_left, k = 0;
        for (int row = top; row < top + p->size_y; ++row) {
            for (int column = left; column < left + p->size_x; ++column) {
                int inside = row >= 0 && row < p->height && column >= 0 && column < p->width;
                const int8_t *pixel = inside ? image + (row * p->width + column) * p->inputs : 0;
                for (int c = 0; c < p->inputs; ++c, ++k) {
                    tile[convert_in_tile(k, i)] = pixel ? pixel[c] : p->zero_point;
                }
            }
        }
        if (values & 1) {
            tile[convert_in_tile(values, i)] = 0;
        }
    }
}
