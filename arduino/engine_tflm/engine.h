// What the sketch asks of the engine that runs the model. This one is TensorFlow Lite Micro.
// Only the .ino includes this file.
#ifndef SKETCH_ENGINE_H_
#define SKETCH_ENGINE_H_

#include "config.h"

#ifndef SKETCH_CHIRALE
#error "src/config.h belongs to another sketch: delete it and run `hpe deploy` again"
#endif

#if SKETCH_CHIRALE
#include <Chirale_TensorFlowLite.h>
#else
#include <TensorFlowLite.h>
#endif

#include "../model_data.h"
#include "../model_settings.h"
#include "../op_resolver.h"
#include "quantize.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace sketch {

// Makes the model ready. Returns nullptr, or a message about what is wrong.
const char* BeginEngine();

// Where the input goes: kInputBytes values.
int8_t* ModelInput();

// Runs the model on what ModelInput() holds; `outputs` gets kOutputs real numbers. Returns false where it did not run.
bool RunModel(float* outputs);

// Ends the line about the start: what the model takes in RAM.
void PrintMemory();

namespace engine {

constexpr int kSchemaVersion = 3;
alignas(16) static uint8_t tensor_arena[kTensorArenaBytes];
static tflite::MicroInterpreter* interpreter = nullptr;

template <int rank>
static bool HasShape(const TfLiteTensor* tensor, const int (&shape)[rank]) {
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
  const tflite::Model* model = tflite::GetModel(g_model);
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
  if (!HasShape(input, kInputShape)) return "the model's input is not int8 of the shape in model_settings.h";
  if (!HasShape(output, kOutputShape)) return "the model's output is not int8 of the shape in model_settings.h";
  if (!SameScale(input, kInputScale, kInputZeroPoint) || !SameScale(output, kOutputScale, kOutputZeroPoint)) {
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

bool RunModel(float* outputs) {
  if (engine::interpreter->Invoke() != kTfLiteOk) return false;
  Dequantize(engine::interpreter->output(0)->data.int8, kOutputs, kOutputScale, kOutputZeroPoint, outputs);
  return true;
}

void PrintMemory() {
  Serial.print(", arena ");
  Serial.print(static_cast<unsigned long>(engine::interpreter->arena_used_bytes()));
  Serial.print(" of ");
  Serial.println(static_cast<unsigned long>(kTensorArenaBytes));
}

}  // namespace sketch

#endif  // SKETCH_ENGINE_H_
