#include "config.h"

#if HEAD_POSE_CAMERA

#include <Arduino_OV767X.h>

#include "image_source.h"

namespace sketch {
namespace {

constexpr int kFrameWidth = 160, kFrameHeight = 120;  // QQVGA
uint8_t pixels[kFrameWidth * kFrameHeight * 2];       // RGB565
uint8_t taken = 0;                                    // pictures so far, modulo 256

}  // namespace

const char* BeginImages() {
  if (!Camera.begin(QQVGA, RGB565, 1, OV7675)) return "no OV7675 camera answers: check its wiring";
  return nullptr;
}

bool ReadImage(int8_t* input, int size, const QuantizeTable& table, uint8_t* frame) {
  Camera.readFrame(pixels);
  *frame = taken++;
  ResizeRgb565(pixels, kFrameWidth, CentreSquare(kFrameWidth, kFrameHeight), size, table, input);
  return true;
}

}  // namespace sketch

#endif  // HEAD_POSE_CAMERA
