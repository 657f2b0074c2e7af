#include "config.h"

#if !HEAD_POSE_CAMERA

#include <Arduino.h>

#include "frame_parser.h"
#include "image_source.h"

namespace head_pose {

const char* BeginImages() { return nullptr; }

// The frame's RGB bytes go straight into the model's input, which is quantised in place once they are complete.
bool ReadImage(int8_t* input, int size, const QuantizeTable& table, uint8_t* frame) {
  const size_t pixels = static_cast<size_t>(size) * static_cast<size_t>(size);
  uint8_t* rgb = reinterpret_cast<uint8_t*>(input);
  FrameParser parser(rgb, 3 * pixels);
  unsigned long last_byte_ms = millis();
  while (true) {
    if (Serial.available() <= 0) {
      if (!parser.InFrame()) return false;
      if (millis() - last_byte_ms > kFrameTimeoutMs) {
        Serial.println("# error: a frame was cut short");
        return false;
      }
      continue;
    }
    last_byte_ms = millis();
    switch (parser.Push(static_cast<uint8_t>(Serial.read()))) {
      case FrameEvent::kFrame:
        QuantizeRgb(rgb, pixels, table);
        *frame = parser.Sequence();
        return true;
      case FrameEvent::kBadLength:
        Serial.println("# error: a frame has another size than the model's input, or was cut short");
        break;
      case FrameEvent::kBadChecksum:
        Serial.println("# error: a frame arrived damaged");
        break;
      case FrameEvent::kNone:
        break;
    }
  }
}

}  // namespace head_pose

#endif  // !HEAD_POSE_CAMERA
