#include "image.h"

namespace sketch {
namespace {

// The source pixels that output pixel `i` covers, when each source pixel is `out_size` units wide and each output
// pixel `crop_size` units: the first one, one past the last, and how many units of a source pixel it covers.
struct Span {
  Span(int i, int crop_size, int out_size)
      : begin(i * crop_size), end(begin + crop_size), unit(out_size), first(begin / unit), past((end + unit - 1) / unit) {}

  uint32_t Weight(int source) const {
    const int left = source * unit, right = left + unit;
    return static_cast<uint32_t>((right < end ? right : end) - (left > begin ? left : begin));
  }

  const int begin, end, unit, first, past;
};

}  // namespace

Crop CentreSquare(int width, int height) {
  const int size = width < height ? width : height;
  return {(width - size) / 2, (height - size) / 2, size};
}

void ResizeRgb565(const uint8_t* frame, int frame_width, const Crop& crop, int out_size, const QuantizeTable& table,
                  int8_t* out) {
  const uint32_t area = static_cast<uint32_t>(crop.size) * static_cast<uint32_t>(crop.size);  // sum of the weights
  for (int y = 0; y < out_size; ++y) {
    const Span rows(y, crop.size, out_size);
    for (int x = 0; x < out_size; ++x) {
      const Span columns(x, crop.size, out_size);
      uint32_t sum[3] = {area / 2, area / 2, area / 2};  // at most 255.5 * 2048 * 2048: fits 32 bits
      for (int row = rows.first; row < rows.past; ++row) {
        const uint8_t* line = frame + 2 * (static_cast<size_t>(crop.y + row) * static_cast<size_t>(frame_width));
        for (int column = columns.first; column < columns.past; ++column) {
          const uint32_t weight = rows.Weight(row) * columns.Weight(column);
          uint8_t rgb[3];
          UnpackRgb565(line + 2 * (crop.x + column), rgb);
          for (int channel = 0; channel < 3; ++channel) sum[channel] += weight * rgb[channel];
        }
      }
      for (int channel = 0; channel < 3; ++channel) *out++ = table[channel][sum[channel] / area];
    }
  }
}

}  // namespace sketch
