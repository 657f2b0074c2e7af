// From the model's outputs to degrees, and to a line of text.
#ifndef SKETCH_POSE_H_
#define SKETCH_POSE_H_

#include <stddef.h>
#include <stdint.h>

namespace sketch {

struct Pose {
  float yaw_deg;
  float pitch_deg;
  float roll_deg;
};

// How to read the outputs: degrees for one unit of them, and which output is which angle.
struct PoseCode {
  float degrees_per_unit;
  int yaw_index;
  int pitch_index;
  int roll_index;
};

Pose ToPose(const float* outputs, const PoseCode& code);

// Writes "yaw,pitch,roll,latency_us,frame" with two decimals, without a line end; `frame` is the sequence byte of the
// image. `size` of 64 is always enough.
void FormatPose(const Pose& pose, uint32_t latency_us, uint8_t frame, char* text, size_t size);

}  // namespace sketch

#endif  // SKETCH_POSE_H_
