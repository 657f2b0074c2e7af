// Between real numbers or pixels and the model's int8.
#ifndef SKETCH_QUANTIZE_H_
#define SKETCH_QUANTIZE_H_

#include <stddef.h>
#include <stdint.h>

namespace sketch {

// Maps the 8-bit values of one channel of an image to the model's int8: normalisation and quantisation in one step.
using ChannelTable = int8_t[256];

// Turns the bytes of an image into the model's int8, in place; a table for each channel.
inline void QuantizePixels(uint8_t* bytes, size_t pixels, int channels, const ChannelTable* tables) {
  for (size_t i = 0; i < pixels; ++i) {
    for (int channel = 0; channel < channels; ++channel, ++bytes) *bytes = static_cast<uint8_t>(tables[channel][*bytes]);
  }
}

// real = scale * (integer - zero point)
inline void Dequantize(const int8_t* values, int count, float scale, int zero_point, float* real) {
  for (int i = 0; i < count; ++i) real[i] = static_cast<float>(values[i] - zero_point) * scale;
}

}  // namespace sketch

#endif  // SKETCH_QUANTIZE_H_
