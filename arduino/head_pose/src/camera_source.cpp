#include "config.h"

#if HEAD_POSE_CAMERA

#include <Arduino_OV767X.h>

#include "image_source.h"

namespace sketch {
namespace {

uint8_t pixels[kFrameWidth * kFrameHeight * 2];  // RGB565
uint8_t taken = 0;                               // pictures so far, modulo 256

}  // namespace

const char* BeginImages() {
  if (!Camera.begin(QQVGA, RGB565, 1, OV7675)) return "no OV7675 camera answers: check its wiring";
  return nullptr;
}

uint8_t TakeFrame() {
  Camera.readFrame(pixels);
  return taken++;
}

void CutFrame(const Crop& crop, int8_t* input, int size, const QuantizeTable& table) {
  ResizeRgb565(pixels, kFrameWidth, crop, size, table, input);
}

bool ReadImage(int8_t* input, int size, const QuantizeTable& table, uint8_t* frame) {
  *frame = TakeFrame();
  CutFrame(CentreSquare(kFrameWidth, kFrameHeight), input, size, table);
  return true;
}

}  // namespace sketch

#endif  // HEAD_POSE_CAMERA
