#include "../pad.h"

KERNEL void pad(const pad_t *p, const int8_t *in, int8_t *out) {
    memset(out, p->value, (size_t)(p->rows * p->columns * p->depth));
    for (int y = 0; y < p->height; ++y) {
        for (int x = 0; x < p->width; ++x, in += p->channels) {
            int pixel = (y + p->above) * p->columns + x + p->left;
            memcpy(out + pixel * p->depth + p->front, in, (size_t)p->channels);
        }
    }
}
