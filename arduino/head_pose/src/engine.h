// What the sketch asks of the engine that runs the model. This one is the model as plain C, which `hpe deploy` generates.
// Only the .ino includes this file.
#ifndef SKETCH_ENGINE_H_
#define SKETCH_ENGINE_H_

#include "../model.h"
#include "../model_settings.h"
#include "config.h"
#include "quantize.h"

#ifndef SKETCH_FINE
#error "src/config.h belongs to another sketch: delete it and run `hpe deploy` again"
#endif

namespace sketch {

// Makes the model ready. Returns nullptr, or a message about what is wrong.
const char* BeginEngine();

// Where the input goes: kInputBytes values.
int8_t* ModelInput();

// Runs the model on what ModelInput() holds; `outputs` gets kOutputs real numbers. Returns false where it did not run.
bool RunModel(float* outputs);

// Ends the line about the start: what the model takes in RAM.
void PrintMemory();

static_assert(MODEL_INPUT_BYTES == kInputBytes && MODEL_OUTPUT_BYTES == kOutputs &&
                  MODEL_INPUT_ZERO_POINT == kInputZeroPoint && MODEL_OUTPUT_ZERO_POINT == kOutputZeroPoint,
              "model_settings.h belongs to another model than model.h: run `hpe deploy` again");

const char* BeginEngine() { return nullptr; }

int8_t* ModelInput() { return model_input(); }

bool RunModel(float* outputs) {
#if SKETCH_FINE && defined(MODEL_FINE_SCALES)  // the last layer's sums, before they are rounded to int8: no steps
  static const float scales[kOutputs] = MODEL_FINE_SCALES;
  static int32_t sums[kOutputs];
  if (model_run_fine(ModelInput(), sums) != 0) return false;
  for (int i = 0; i < kOutputs; ++i) outputs[i] = static_cast<float>(sums[i]) * scales[i];
#else
  static int8_t values[kOutputs];
  if (model_run(ModelInput(), values) != 0) return false;
  Dequantize(values, kOutputs, kOutputScale, kOutputZeroPoint, outputs);
#endif
  return true;
}

void PrintMemory() {
  Serial.print(", model RAM ");
  Serial.println(static_cast<unsigned long>(MODEL_RAM_BYTES));
}

}  // namespace sketch

#endif  // SKETCH_ENGINE_H_
