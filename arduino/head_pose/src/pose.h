// From the model's int8 outputs to degrees, and to a line of text.
#ifndef HEAD_POSE_POSE_H_
#define HEAD_POSE_POSE_H_

#include <stddef.h>
#include <stdint.h>

namespace head_pose {

struct Pose {
  float yaw_deg;
  float pitch_deg;
  float roll_deg;
};

// How to read the outputs: real = scale * (output - zero_point), times degrees_per_unit; which output is which angle.
struct PoseCode {
  float scale;
  int zero_point;
  float degrees_per_unit;
  int yaw_index;
  int pitch_index;
  int roll_index;
};

Pose DecodePose(const int8_t* outputs, const PoseCode& code);

// The same of outputs that are real numbers already.
Pose ToPose(const float* outputs, const PoseCode& code);

// Writes "yaw,pitch,roll,latency_us,frame" with two decimals, without a line end; `frame` is the sequence byte of the
// image. `size` of 64 is always enough.
void FormatPose(const Pose& pose, uint32_t latency_us, uint8_t frame, char* text, size_t size);

}  // namespace head_pose

#endif  // HEAD_POSE_POSE_H_
