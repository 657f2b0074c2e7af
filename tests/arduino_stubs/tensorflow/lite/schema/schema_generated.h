#pragma once
#include <string.h>
namespace tflite {
struct Model {
  unsigned int version() const { return memcmp(reinterpret_cast<const char*>(this) + 4, "TFL3", 4) == 0 ? 3 : 0; }
};
inline const Model* GetModel(const void* data) { return static_cast<const Model*>(data); }
}  // namespace tflite
