// What the sketch asks of the engine that runs the model. This one is TensorFlow Lite Micro.
// Only the .ino includes this file.
#ifndef HEAD_POSE_ENGINE_H_
#define HEAD_POSE_ENGINE_H_

#include "config.h"

#if HEAD_POSE_CHIRALE
#include <Chirale_TensorFlowLite.h>
#else
#include <TensorFlowLite.h>
#endif

#include "../model_data.h"
#include "../model_settings.h"
#include "../op_resolver.h"
#include "pose.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace head_pose {

// Makes the model ready. Returns nullptr, or a message about what is wrong.
const char* BeginEngine();

// Where the image goes: kImageSize * kImageSize * 3 values.
int8_t* ModelInput();

// Runs the model on what ModelInput() holds. Returns false where it did not run.
bool RunModel(Pose* pose);

// Ends the line about the start: what the model takes in RAM.
void PrintMemory();

namespace engine {

constexpr int kSchemaVersion = 3;
alignas(16) static uint8_t tensor_arena[kTensorArenaBytes];
static tflite::MicroInterpreter* interpreter = nullptr;

static bool HasShape(const TfLiteTensor* tensor, const int* shape, int rank) {
  if (tensor == nullptr || tensor->type != kTfLiteInt8 || tensor->dims->size != rank) return false;
  for (int i = 0; i < rank; ++i) {
    if (tensor->dims->data[i] != shape[i]) return false;
  }
  return true;
}

static bool SameScale(const TfLiteTensor* tensor, float scale, int zero_point) {
  const float difference = tensor->params.scale - scale;
  return tensor->params.zero_point == zero_point && difference < scale * 1e-4f && difference > -scale * 1e-4f;
}

static const char* LoadModel() {
  const tflite::Model* model = tflite::GetModel(g_head_pose_model);
  if (model->version() != kSchemaVersion) return "model_data.cpp holds no TensorFlow Lite model of schema 3";
  static OpResolver resolver;
  if (RegisterOps(resolver) != kTfLiteOk) return "an operator of the model cannot be registered";
  static tflite::MicroInterpreter static_interpreter(model, resolver, tensor_arena, kTensorArenaBytes);
  interpreter = &static_interpreter;
  if (interpreter->AllocateTensors() != kTfLiteOk) {
    return "the tensors do not fit kTensorArenaBytes, or the library lacks an operator of the model";
  }
  return OpsAreReady() ? nullptr : "op_resolver.h belongs to another model than model_data.cpp";
}

static const char* CheckModel() {
  const TfLiteTensor* input = interpreter->input(0);
  const TfLiteTensor* output = interpreter->output(0);
  const int input_shape[4] = {1, kImageSize, kImageSize, 3};
  const int output_shape[2] = {1, kOutputs};
  if (!HasShape(input, input_shape, 4)) return "the model's input is not int8 of the shape in model_settings.h";
  if (!HasShape(output, output_shape, 2)) return "the model's output is not int8 of the shape in model_settings.h";
  if (!SameScale(input, kInputScale, kInputZeroPoint) ||
      !SameScale(output, kPoseCode.scale, kPoseCode.zero_point)) {
    return "model_settings.h belongs to another model than model_data.cpp";
  }
  return nullptr;
}

}  // namespace engine

const char* BeginEngine() {
  const char* problem = engine::LoadModel();
  return problem != nullptr ? problem : engine::CheckModel();
}

int8_t* ModelInput() { return engine::interpreter->input(0)->data.int8; }

bool RunModel(Pose* pose) {
  if (engine::interpreter->Invoke() != kTfLiteOk) return false;
  *pose = DecodePose(engine::interpreter->output(0)->data.int8, kPoseCode);
  return true;
}

void PrintMemory() {
  Serial.print(", arena ");
  Serial.print(static_cast<unsigned long>(engine::interpreter->arena_used_bytes()));
  Serial.print(" of ");
  Serial.println(static_cast<unsigned long>(kTensorArenaBytes));
}

}  // namespace head_pose

#endif  // HEAD_POSE_ENGINE_H_
