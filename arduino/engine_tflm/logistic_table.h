// LOGISTIC from a table of 256 values instead of fixed-point exponentials: same bytes, about 40 times faster.
// The generated op_resolver.h uses it where the model has LOGISTIC (SiLU, or squeeze-excitation's gate).
#ifndef SKETCH_LOGISTIC_TABLE_H_
#define SKETCH_LOGISTIC_TABLE_H_

#include <stddef.h>
#include <stdint.h>

#include <type_traits>
#include <utility>

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace sketch {

// out[i] = table[in[i] + 128]
inline void LookUp(const int8_t* in, size_t size, const int8_t* table, int8_t* out) {
  for (size_t i = 0; i < size; ++i) out[i] = table[in[i] + 128];
}

// MicroMutableOpResolver with another LOGISTIC: the interpreter initialises ops in the model's order, so the n-th
// LOGISTIC takes the n-th table.
template <unsigned int kOps>
class TableLogisticResolver : public tflite::MicroMutableOpResolver<kOps> {
  using Base = tflite::MicroMutableOpResolver<kOps>;
  using Registration = typename std::remove_const<
      typename std::remove_pointer<decltype(std::declval<const Base&>().FindOp(tflite::BuiltinOperator_LOGISTIC))>::type>::type;

 public:
  TableLogisticResolver(const int8_t (*tables)[256], int count) {
    Tables() = tables;
    Count() = count;
    registration_.init = Init;
    registration_.invoke = Invoke;
    registration_.builtin_code = tflite::BuiltinOperator_LOGISTIC;
  }

  using Base::FindOp;
  const Registration* FindOp(tflite::BuiltinOperator op) const override {
    const Registration* found = Base::FindOp(op);  // none before AddLogistic(), which refuses what is there already
    return found != nullptr && op == tflite::BuiltinOperator_LOGISTIC ? &registration_ : found;
  }

  // Whether the interpreter has taken each table once: true after AllocateTensors() on the model of these tables.
  static bool AllTaken() { return Taken() == Count(); }

 private:
  static void* Init(TfLiteContext*, const char*, size_t) {
    const int index = Taken()++;
    return index < Count() ? const_cast<int8_t*>(Tables()[index]) : nullptr;
  }

  static TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
    const TfLiteEvalTensor* input = context->GetEvalTensor(context, node->inputs->data[0]);
    TfLiteEvalTensor* output = context->GetEvalTensor(context, node->outputs->data[0]);
    if (node->user_data == nullptr || input->type != kTfLiteInt8) return kTfLiteError;
    size_t size = 1;
    for (int i = 0; i < input->dims->size; ++i) size *= static_cast<size_t>(input->dims->data[i]);
    LookUp(input->data.int8, size, static_cast<const int8_t*>(node->user_data), output->data.int8);
    return kTfLiteOk;
  }

  using TablePointer = const int8_t (*)[256];
  static TablePointer& Tables() {
    static TablePointer tables = nullptr;
    return tables;
  }
  static int& Count() {
    static int count = 0;
    return count;
  }
  static int& Taken() {
    static int taken = 0;
    return taken;
  }

  Registration registration_ = {};
};

}  // namespace sketch

#endif  // SKETCH_LOGISTIC_TABLE_H_
