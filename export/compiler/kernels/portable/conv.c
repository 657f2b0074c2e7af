#include "../conv.h"

/* The sum of output c over the window whose first pixel is (top, left). */
static inline int32_t conv_sum(const conv_t *p, const int8_t *in, int top, int left, int c) {
    const window_t *w = &p->window;
    int first = c / (w->outputs / (w->inputs / p->group_inputs)) * p->group_inputs;
    const int8_t *weight = p->weights + c * w->size_y * w->size_x * p->group_inputs;
    int32_t sum = p->channels[c].bias;
    for (int y = top; y < top + w->size_y; ++y) {
        for (int x = left; x < left + w->size_x; ++x, weight += p->group_inputs) {
            if (y < 0 || y >= w->height || x < 0 || x >= w->width) {
                continue;
            }
            const int8_t *pixel = in + (y * w->width + x) * w->inputs + first;
            for (int k = 0; k < p->group_inputs; ++k) {
                sum += (pixel[k] - w->zero_in) * weight[k];
            }
        }
    }
    return sum;
}

KERNEL void conv(const conv_t *p, const int8_t *in, int8_t *out) {
    const window_t *w = &p->window;
    for (int y = 0; y < w->rows; ++y) {
        for (int x = 0; x < w->columns; ++x) {
            int top = y * w->stride_y - w->pad_top, left = x * w->stride_x - w->pad_left;
            for (int c = 0; c < w->outputs; ++c) {
                int32_t sum = conv_sum(p, in, top, left, c);
                int32_t value = rescale(sum, p->channels[c].multiplier, p->channels[c].shift) + w->zero_out;
                *out++ = (int8_t)clamp(value, w->low, w->high);
            }
        }
    }
}
