#pragma once

#include "tensorflow/lite/c/common.h"

namespace tflite {

enum BuiltinOperator {
  BuiltinOperator_ADD = 0,
  BuiltinOperator_CONV_2D = 3,
  BuiltinOperator_DEPTHWISE_CONV_2D = 4,
  BuiltinOperator_FULLY_CONNECTED = 9,
  BuiltinOperator_LOGISTIC = 14,
  BuiltinOperator_MUL = 18,
  BuiltinOperator_RESHAPE = 22,
  BuiltinOperator_PAD = 34,
  BuiltinOperator_MEAN = 40,
  BuiltinOperator_HARD_SWISH = 117,
};

struct MicroOpResolver {
  virtual ~MicroOpResolver() {}
  virtual const TFLMRegistration* FindOp(BuiltinOperator op) const = 0;
  virtual const TFLMRegistration* FindOp(const char* op) const = 0;
};

// As the real one: AddBuiltin() asks the virtual FindOp() first, and refuses an operator that it finds.
template <unsigned int kOps>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  const TFLMRegistration* FindOp(BuiltinOperator op) const override {
    for (unsigned int i = 0; i < count_; ++i) {
      if (registrations_[i].builtin_code == op) return &registrations_[i];
    }
    return nullptr;
  }
  const TFLMRegistration* FindOp(const char*) const override { return nullptr; }
  TfLiteStatus AddAdd() { return AddBuiltin(BuiltinOperator_ADD); }
  TfLiteStatus AddConv2D() { return AddBuiltin(BuiltinOperator_CONV_2D); }
  TfLiteStatus AddDepthwiseConv2D() { return AddBuiltin(BuiltinOperator_DEPTHWISE_CONV_2D); }
  TfLiteStatus AddFullyConnected() { return AddBuiltin(BuiltinOperator_FULLY_CONNECTED); }
  TfLiteStatus AddHardSwish() { return AddBuiltin(BuiltinOperator_HARD_SWISH); }
  TfLiteStatus AddLogistic() { return AddBuiltin(BuiltinOperator_LOGISTIC); }
  TfLiteStatus AddMean() { return AddBuiltin(BuiltinOperator_MEAN); }
  TfLiteStatus AddMul() { return AddBuiltin(BuiltinOperator_MUL); }
  TfLiteStatus AddPad() { return AddBuiltin(BuiltinOperator_PAD); }
  TfLiteStatus AddReshape() { return AddBuiltin(BuiltinOperator_RESHAPE); }

 private:
  TfLiteStatus AddBuiltin(BuiltinOperator op) {
    if (count_ >= kOps || FindOp(op) != nullptr) return kTfLiteError;
    registrations_[count_++].builtin_code = op;
    return kTfLiteOk;
  }
  TFLMRegistration registrations_[kOps] = {};
  unsigned int count_ = 0;
};

}  // namespace tflite
