// The few types of TensorFlow Lite that the sketch touches, by the names that it uses.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum TfLiteStatus { kTfLiteOk, kTfLiteError };
enum TfLiteType { kTfLiteInt32 = 2, kTfLiteInt8 = 9 };
struct TfLiteIntArray {
  int size;
  int data[4];
};
union TfLitePtrUnion {
  int8_t* int8;
};
struct TfLiteQuantizationParams {
  float scale;
  int zero_point;
};
struct TfLiteTensor {
  TfLiteType type;
  TfLiteIntArray* dims;
  TfLitePtrUnion data;
  TfLiteQuantizationParams params;
};
struct TfLiteEvalTensor {
  TfLitePtrUnion data;
  TfLiteIntArray* dims;
  TfLiteType type;
};
struct TfLiteNode {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  void* user_data;
};
struct TfLiteContext {
  TfLiteEvalTensor* (*GetEvalTensor)(const TfLiteContext*, int);
};
struct TFLMRegistration {
  void* (*init)(TfLiteContext*, const char*, size_t);
  void (*free)(TfLiteContext*, void*);
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*);
  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*);
  int builtin_code;
};
