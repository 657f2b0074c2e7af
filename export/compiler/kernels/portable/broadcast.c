#include "../broadcast.h"

/* The offset of output number i in an input with these steps. */
static inline int32_t broadcast_offset(const int32_t sides[4], const int32_t steps[4], int32_t i) {
    int32_t offset = 0;
    for (int axis = 3; axis >= 0; --axis) {
        offset += i % sides[axis] * steps[axis];
        i /= sides[axis];
    }
    return offset;
}

KERNEL void add_broadcast(const add_t *p, const broadcast_t *shape, const int8_t *a, const int8_t *b, int8_t *out) {
    int32_t count = shape->sides[0] * shape->sides[1] * shape->sides[2] * shape->sides[3];
    for (int32_t i = 0; i < count; ++i) {
        int32_t x = a[broadcast_offset(shape->sides, shape->steps_a, i)];
        int32_t y = b[broadcast_offset(shape->sides, shape->steps_b, i)];
        x = rounding_shift(high_product((x - p->zero_a) * (1 << 20), p->multiplier_a), p->shift_a);
        y = rounding_shift(high_product((y - p->zero_b) * (1 << 20), p->multiplier_b), p->shift_b);
        out[i] = (int8_t)clamp(rescale(x + y, p->multiplier, p->shift) + p->zero_point, p->low, p->high);
    }
}

KERNEL void multiply_broadcast(const multiply_t *p, const broadcast_t *shape, const int8_t *a, const int8_t *b, int8_t *out) {
    int32_t count = shape->sides[0] * shape->sides[1] * shape->sides[2] * shape->sides[3];
    for (int32_t i = 0; i < count; ++i) {
        int32_t x = a[broadcast_offset(shape->sides, shape->steps_a, i)] - p->zero_a;
        int32_t y = b[broadcast_offset(shape->sides, shape->steps_b, i)] - p->zero_b;
        int32_t product = rescale(x * y, p->multiplier, p->shift);
        out[i] = (int8_t)clamp(product + p->zero_point, p->low, p->high);
    }
}
