#include "../channelwise.h"

static inline int32_t channelwise_sum(const channelwise_t *p, const int8_t *in, int top, int left, int c) {
    const window_t *w = &p->window;
    int source = c / (w->outputs / w->inputs);
    const int8_t *weight = p->weights + c;
    int32_t sum = p->channels[c].bias;
    for (int y = top; y < top + w->size_y; ++y) {
        for (int x = left; x < left + w->size_x; ++x, weight += w->outputs) {
            if (y >= 0 && y < w->height && x >= 0 && x < w->width) {
                sum += (in[(y * w->width + x) * w->inputs + source] - w->zero_in) * *weight;
            }
        }
    }
    return sum;
}

KERNEL void channelwise(const channelwise_t *p, const int8_t *in, int8_t *out) {
    const window_t *w = &p->window;
    for (int y = 0; y < w->rows; ++y) {
        for (int x = 0; x < w->columns; ++x) {
            int top = y * w->stride_y - w->pad_top, left = x * w->stride_x - w->pad_left;
            for (int c = 0; c < w->outputs; ++c) {
                int32_t sum = channelwise_sum(p, in, top, left, c);
                int32_t value = rescale(sum, p->channels[c].multiplier, p->channels[c].shift) + w->zero_out;
                *out++ = (int8_t)clamp(value, w->low, w->high);
            }
        }
    }
}
