#include "../max_pool.h"

KERNEL void max_pool(const window_t *p, const int8_t *in, int8_t *out) {
    for (int row = 0; row < p->rows; ++row) {
        for (int column = 0; column < p->columns; ++column) {
            int top = row * p->stride_y - p->pad_top, left = column * p->stride_x - p->pad_left;
            for (int c = 0; c < p->outputs; ++c) {
                int32_t most = -128;
                for (int y = top < 0 ? 0 : top; y < top + p->size_y && y < p->height; ++y) {
                    for (int x = left < 0 ? 0 : left; x < left + p->size_x && x < p->width; ++x) {
                        int32_t value = in[(y * p->width + x) * p->inputs + c];
                        most = value > most ? value : most;
                    }
                }
                *out++ = (int8_t)clamp(most, p->low, p->high);
            }
        }
    }
}
