// An interpreter that runs nothing: its three outputs are the input's first, middle and last value.
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
    output_values_[0] = values[0];
    output_values_[1] = values[kInputBytes / 2];
    output_values_[2] = values[kInputBytes - 1];
    return kTfLiteOk;
  }

  TfLiteTensor* input(size_t) { return &input_; }
  TfLiteTensor* output(size_t) { return &output_; }
  size_t arena_used_bytes() const { return kInputBytes; }

 private:
  static constexpr size_t kInputBytes = STUB_IMAGE * STUB_IMAGE * 3;

  const MicroOpResolver& resolver_;
  size_t arena_bytes_;
  int8_t output_values_[3] = {};
  TfLiteIntArray input_dims_ = {4, {1, STUB_IMAGE, STUB_IMAGE, 3}};
  TfLiteIntArray output_dims_ = {2, {1, 3, 0, 0}};
  TfLiteTensor input_ = {kTfLiteInt8, &input_dims_, {nullptr}, {STUB_INPUT_SCALE, STUB_INPUT_ZERO_POINT}};
  TfLiteTensor output_ = {kTfLiteInt8, &output_dims_, {output_values_}, {STUB_OUTPUT_SCALE, STUB_OUTPUT_ZERO_POINT}};
};

}  // namespace tflite
