// Where the sketch gets its images; config.h chooses between camera_source.cpp and serial_source.cpp.
#ifndef SKETCH_IMAGE_SOURCE_H_
#define SKETCH_IMAGE_SOURCE_H_

#include <stdint.h>

#include "image.h"

namespace sketch {

// Makes the source ready. Returns nullptr, or a message about what is wrong.
const char* BeginImages();

// Fills `input` (size * size * 3) with the next image, quantised by the table, and `frame` with the image's sequence
// byte. Returns false when there is no image yet.
bool ReadImage(int8_t* input, int size, const QuantizeTable& table, uint8_t* frame);

// The camera alone: takes a picture, of which CutFrame then gives any square. Returns its sequence byte.
constexpr int kFrameWidth = 160, kFrameHeight = 120;  // QQVGA
uint8_t TakeFrame();
void CutFrame(const Crop& crop, int8_t* input, int size, const QuantizeTable& table);

}  // namespace sketch

#endif  // SKETCH_IMAGE_SOURCE_H_
