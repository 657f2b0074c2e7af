#include "../average_pool.h"

KERNEL void average_pool(const window_t *p, const int8_t *in, int8_t *out) {
    for (int row = 0; row < p->rows; ++row) {
        for (int column = 0; column < p->columns; ++column) {
            int top = row * p->stride_y - p->pad_top, left = column * p->stride_x - p->pad_left;
            int y0 = top < 0 ? 0 : top, y1 = top + p->size_y < p->height ? top + p->size_y : p->height;
            int x0 = left < 0 ? 0 : left, x1 = left + p->size_x < p->width ? left + p->size_x : p->width;
            int32_t count = (y1 - y0) * (x1 - x0);
            for (int c = 0; c < p->outputs; ++c) {
                int32_t sum = 0;
                for (int y = y0; y < y1; ++y) {
                    for (int x = x0; x < x1; ++x) {
                        sum += in[(y * p->width + x) * p->inputs + c];
                    }
                }
                sum = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
                *out++ = (int8_t)clamp(sum, p->low, p->high);
            }
        }
    }
}
