#include "../copy.h"

KERNEL void copy(const int8_t *in, int8_t *out, int outer, int piece, int step) {
    for (int i = 0; i < outer; ++i, in += piece, out += step) {
        memcpy(out, in, (size_t)piece);
    }
}
