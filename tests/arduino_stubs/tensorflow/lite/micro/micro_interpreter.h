// An interpreter that runs nothing: its outputs are values of the input, evenly spread from the first to the last.
// STUB_* macros say what the model looks like.
#pragma once

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {

class MicroInterpreter {
 public:
  MicroInterpreter(const Model*, const MicroOpResolver& resolver, uint8_t* arena, size_t arena_bytes)
      : resolver_(resolver), arena_bytes_(arena_bytes) {
    input_.data.int8 = reinterpret_cast<int8_t*>(arena);
  }

  TfLiteStatus AllocateTensors() {
    if (arena_bytes_ < kInputBytes) return kTfLiteError;
    const TFLMRegistration* logistic = resolver_.FindOp(BuiltinOperator_LOGISTIC);
    for (int i = 0; i < STUB_LOGISTICS; ++i) logistic->init(nullptr, nullptr, 0);
    return kTfLiteOk;
  }

  TfLiteStatus Invoke() {
    const int8_t* values = input_.data.int8;
    for (size_t i = 0; i < kOutputs; ++i) {
      output_values_[i] = values[kOutputs == 1 ? 0 : (i * (kInputBytes - 1) + kOutputs - 2) / (kOutputs - 1)];
    }
    return kTfLiteOk;
  }

  TfLiteTensor* input(size_t) { return &input_; }
  TfLiteTensor* output(size_t) { return &output_; }
  size_t arena_used_bytes() const { return kInputBytes; }

 private:
  static constexpr size_t kInputBytes = STUB_INPUT_BYTES, kOutputs = STUB_OUTPUTS;

  const MicroOpResolver& resolver_;
  size_t arena_bytes_;
  int8_t output_values_[kOutputs] = {};
  TfLiteIntArray input_dims_ = {STUB_INPUT_SHAPE};
  TfLiteIntArray output_dims_ = {STUB_OUTPUT_SHAPE};
  TfLiteTensor input_ = {kTfLiteInt8, &input_dims_, {nullptr}, {STUB_INPUT_SCALE, STUB_INPUT_ZERO_POINT}};
  TfLiteTensor output_ = {kTfLiteInt8, &output_dims_, {output_values_}, {STUB_OUTPUT_SCALE, STUB_OUTPUT_ZERO_POINT}};
};

}  // namespace tflite
