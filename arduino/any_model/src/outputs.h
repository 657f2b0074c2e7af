// The model's outputs as text: the number of digits and the labels, if there are any, stand in model_settings.h.
// Only the .ino includes this file.
#ifndef SKETCH_OUTPUTS_H_
#define SKETCH_OUTPUTS_H_

#include <math.h>
#include <stdio.h>

#include "../model_settings.h"

namespace sketch {

// One output and a comma. Digits by hand: boards' printf often lacks %f.
inline void PrintOutput(float value) {
  char text[40];
  const long units = lroundf(value * kUnitsPerOne);  // of the last digit that is printed
  const long magnitude = units < 0 ? -units : units;
  const char* sign = units < 0 ? "-" : "";
  if (kDecimals == 0) {
    snprintf(text, sizeof(text), "%s%ld%s,", sign, magnitude, kExponent);
  } else {
    snprintf(text, sizeof(text), "%s%ld.%0*ld%s,", sign, magnitude / kOne, kDecimals, magnitude % kOne, kExponent);
  }
  Serial.print(text);
}

#if SKETCH_LABELS

// The label of the highest output (the first of them) and that output, each with a comma.
inline void PrintOutputs(const float* outputs) {
  int top = 0;
  for (int i = 1; i < kOutputs; ++i) {
    if (outputs[i] > outputs[top]) top = i;
  }
  Serial.print(kLabels[top]);
  Serial.print(",");
  PrintOutput(outputs[top]);
}

#else

// Every output with a comma.
inline void PrintOutputs(const float* outputs) {
  for (int i = 0; i < kOutputs; ++i) PrintOutput(outputs[i]);
}

#endif

}  // namespace sketch

#endif  // SKETCH_OUTPUTS_H_
