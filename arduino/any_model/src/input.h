// What arrived over serial to the model's input. Only the .ino includes this file.
#ifndef SKETCH_INPUT_H_
#define SKETCH_INPUT_H_

#include "../model_settings.h"
#include "frame_parser.h"
#include "quantize.h"

namespace sketch {

#if SKETCH_IMAGE

constexpr Values kInputValues = Values::kUint8;
constexpr char kInputType[] = "uint8";

// The bytes of an image, in place.
inline void QuantizeInput(uint8_t* input) {
  QuantizePixels(input, kInputBytes / kChannels, kChannels, kQuantizeTable);
}

#else

constexpr Values kInputValues = Values::kInt8;
constexpr char kInputType[] = "int8";

// int8 values are what the model takes.
inline void QuantizeInput(uint8_t*) {}

#endif

}  // namespace sketch

#endif  // SKETCH_INPUT_H_
