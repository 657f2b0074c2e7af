#include "serial_frames.h"

#include <Arduino.h>

#include "config.h"

namespace sketch {

bool ReadFrame(uint8_t* payload, size_t size, uint8_t* sequence, Values values) {
  FrameParser parser(payload, size, values);
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
        *sequence = parser.Sequence();
        return true;
      case FrameEvent::kBadLength:
        Serial.println("# error: a frame has another size than the model's input, or was cut short");
        break;
      case FrameEvent::kBadChecksum:
        Serial.println("# error: a frame arrived damaged");
        break;
      case FrameEvent::kOtherValues:
        Serial.println(values == Values::kInt8 ? "# error: the frame holds uint8, this sketch takes int8"
                                               : "# error: the frame holds int8, this sketch takes uint8");
        break;
      case FrameEvent::kNone:
        break;
    }
  }
}

}  // namespace sketch
