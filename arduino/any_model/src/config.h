// What you may want to change before flashing. Everything about the model is in model_settings.h, which is generated.
#ifndef SKETCH_CONFIG_H_
#define SKETCH_CONFIG_H_

// For the engine c. 0: outputs are rounded to int8, as TensorFlow Lite does. 1: where the model ends in a dense layer,
// its last sums as they are, finer than one step of an int8.
#ifndef SKETCH_FINE
#define SKETCH_FINE 0
#endif

// For the engine tflm, the library. 0: Arduino_TensorFlowLite. 1: Chirale_TensorFLowLite.
#ifndef SKETCH_CHIRALE
#define SKETCH_CHIRALE 0
#endif

namespace sketch {

constexpr long kBaud = 115200;                   // boards with native USB ignore it
constexpr unsigned long kFrameTimeoutMs = 1000;  // silence inside a frame after which it is given up

}  // namespace sketch

#endif  // SKETCH_CONFIG_H_
