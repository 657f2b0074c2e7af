// From pixels to the model's int8 input, in integers only and without a second image in memory.
#ifndef SKETCH_IMAGE_H_
#define SKETCH_IMAGE_H_

#include <stddef.h>
#include <stdint.h>

#include "quantize.h"

namespace sketch {

// Red, green and blue.
using QuantizeTable = ChannelTable[3];

// A square of a camera frame, in pixels.
struct Crop {
  int x;
  int y;
  int size;
};

// The largest centred square of a frame.
Crop CentreSquare(int width, int height);

// One RGB565 pixel, high byte first (as the OV7675 sends it), as 8-bit red, green and blue.
inline void UnpackRgb565(const uint8_t* pixel, uint8_t rgb[3]) {
  const unsigned value = (static_cast<unsigned>(pixel[0]) << 8) | pixel[1];
  const unsigned red = value >> 11, green = (value >> 5) & 63, blue = value & 31;
  rgb[0] = static_cast<uint8_t>((red << 3) | (red >> 2));
  rgb[1] = static_cast<uint8_t>((green << 2) | (green >> 4));
  rgb[2] = static_cast<uint8_t>((blue << 3) | (blue >> 2));
}

// Averages the crop of an RGB565 frame of `frame_width` pixels a line down (or up) to out_size x out_size, exactly: each
// output pixel is the mean of the area it covers, rounded to the nearest. Writes out_size * out_size * 3 int8 values.
// The crop must lie inside the frame and be at most 2048 pixels wide.
void ResizeRgb565(const uint8_t* frame, int frame_width, const Crop& crop, int out_size, const QuantizeTable& table,
                  int8_t* out);

}  // namespace sketch

#endif  // SKETCH_IMAGE_H_
