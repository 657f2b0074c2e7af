#pragma once

#include "tensorflow/lite/c/common.h"

namespace tflite {

enum BuiltinOperator { BuiltinOperator_LOGISTIC = 14 };

struct MicroOpResolver {
  virtual ~MicroOpResolver() {}
  virtual const TFLMRegistration* FindOp(BuiltinOperator op) const = 0;
  virtual const TFLMRegistration* FindOp(const char* op) const = 0;
};

template <unsigned int kOps>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  const TFLMRegistration* FindOp(BuiltinOperator) const override { return nullptr; }
  const TFLMRegistration* FindOp(const char*) const override { return nullptr; }
  TfLiteStatus AddAdd() { return Add(); }
  TfLiteStatus AddConv2D() { return Add(); }
  TfLiteStatus AddDepthwiseConv2D() { return Add(); }
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddHardSwish() { return Add(); }
  TfLiteStatus AddLogistic() { return Add(); }
  TfLiteStatus AddMean() { return Add(); }
  TfLiteStatus AddMul() { return Add(); }
  TfLiteStatus AddPad() { return Add(); }

 private:
  TfLiteStatus Add() { return ++count_ <= kOps ? kTfLiteOk : kTfLiteError; }
  unsigned int count_ = 0;
};

}  // namespace tflite
