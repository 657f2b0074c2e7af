// Frames from a PC over serial, see frame_parser.h.
#ifndef SKETCH_SERIAL_FRAMES_H_
#define SKETCH_SERIAL_FRAMES_H_

#include <stddef.h>
#include <stdint.h>

#include "frame_parser.h"

namespace sketch {

// Reads serial until a frame is complete: fills `payload` with its `size` bytes, and `sequence` with its sequence byte.
// A frame of other `values` is refused with a message.
// Returns false when there is no frame, or when one was cut short; a damaged one is told, and the next is waited for.
bool ReadFrame(uint8_t* payload, size_t size, uint8_t* sequence, Values values = Values::kUint8);

}  // namespace sketch

#endif  // SKETCH_SERIAL_FRAMES_H_
