#include "pose.h"

#include <math.h>
#include <stdio.h>

namespace sketch {
namespace {

// Hundredths as text: boards' printf often lacks %f.
void FormatHundredths(float value, char* text, size_t size) {
  const float limited = value > 9999.0f ? 9999.0f : value < -9999.0f ? -9999.0f : value;
  const long hundredths = lroundf(limited * 100.0f);
  const long magnitude = hundredths < 0 ? -hundredths : hundredths;
  snprintf(text, size, "%s%ld.%02ld", hundredths < 0 ? "-" : "", magnitude / 100, magnitude % 100);
}

}  // namespace

Pose ToPose(const float* outputs, const PoseCode& code) {
  const float unit = code.degrees_per_unit;
  return {outputs[code.yaw_index] * unit, outputs[code.pitch_index] * unit, outputs[code.roll_index] * unit};
}

void FormatPose(const Pose& pose, uint32_t latency_us, uint8_t frame, char* text, size_t size) {
  char yaw[16], pitch[16], roll[16];
  FormatHundredths(pose.yaw_deg, yaw, sizeof(yaw));
  FormatHundredths(pose.pitch_deg, pitch, sizeof(pitch));
  FormatHundredths(pose.roll_deg, roll, sizeof(roll));
  snprintf(text, size, "%s,%s,%s,%lu,%u", yaw, pitch, roll, static_cast<unsigned long>(latency_us),
           static_cast<unsigned>(frame));
}

}  // namespace sketch
