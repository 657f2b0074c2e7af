// What the sketch asks of the engine that runs the model. This one is the model as plain C, which `hpe deploy` generates.
// Only the .ino includes this file.
#ifndef HEAD_POSE_ENGINE_H_
#define HEAD_POSE_ENGINE_H_

#include "../head_pose_model.h"
#include "../model_settings.h"
#include "pose.h"

namespace head_pose {

// Makes the model ready. Returns nullptr, or a message about what is wrong.
const char* BeginEngine();

// Where the image goes: kImageSize * kImageSize * 3 values.
int8_t* ModelInput();

// Runs the model on what ModelInput() holds. Returns false where it did not run.
bool RunModel(Pose* pose);

// Ends the line about the start: what the model takes in RAM.
void PrintMemory();

static_assert(HEAD_POSE_MODEL_INPUT_BYTES == kImageSize * kImageSize * 3 && HEAD_POSE_MODEL_OUTPUT_BYTES == kOutputs &&
                  HEAD_POSE_MODEL_INPUT_ZERO_POINT == kInputZeroPoint &&
                  HEAD_POSE_MODEL_OUTPUT_ZERO_POINT == kPoseCode.zero_point,
              "model_settings.h belongs to another model than head_pose_model.h: run `hpe deploy` again");

const char* BeginEngine() { return nullptr; }

int8_t* ModelInput() { return head_pose_model_input(); }

bool RunModel(Pose* pose) {
#ifdef HEAD_POSE_MODEL_FINE_SCALES  // the last layer's sums, before they are rounded to int8: no steps
  static const float kFineScales[kOutputs] = HEAD_POSE_MODEL_FINE_SCALES;
  int32_t sums[kOutputs];
  if (head_pose_model_run_fine(ModelInput(), sums) != 0) return false;
  float outputs[kOutputs];
  for (int i = 0; i < kOutputs; ++i) outputs[i] = static_cast<float>(sums[i]) * kFineScales[i];
  *pose = ToPose(outputs, kPoseCode);
#else  // the model does not end in a dense layer
  int8_t outputs[kOutputs];
  if (head_pose_model_run(ModelInput(), outputs) != 0) return false;
  *pose = DecodePose(outputs, kPoseCode);
#endif
  return true;
}

void PrintMemory() {
  Serial.print(", model RAM ");
  Serial.println(static_cast<unsigned long>(HEAD_POSE_MODEL_RAM_BYTES));
}

}  // namespace head_pose

#endif  // HEAD_POSE_ENGINE_H_
