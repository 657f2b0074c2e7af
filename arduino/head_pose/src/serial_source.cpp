#include "config.h"

#if !HEAD_POSE_CAMERA

#include "image_source.h"
#include "serial_frames.h"

namespace sketch {

const char* BeginImages() { return nullptr; }

// The frame's RGB bytes go straight into the model's input, which is quantised in place once they are complete.
bool ReadImage(int8_t* input, int size, const QuantizeTable& table, uint8_t* frame) {
  const size_t pixels = static_cast<size_t>(size) * static_cast<size_t>(size);
  uint8_t* rgb = reinterpret_cast<uint8_t*>(input);
  if (!ReadFrame(rgb, 3 * pixels, frame)) return false;
  QuantizePixels(rgb, pixels, 3, table);
  return true;
}

}  // namespace sketch

#endif  // !HEAD_POSE_CAMERA
