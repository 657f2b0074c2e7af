// What you may want to change before flashing. Everything about the model is in model_settings.h, which is generated.
#ifndef SKETCH_CONFIG_H_
#define SKETCH_CONFIG_H_

// Where images come from. 0: frames over serial from a PC (`hpe serial`). 1: an OV7675 camera.
#ifndef HEAD_POSE_CAMERA
#define HEAD_POSE_CAMERA 0
#endif

// For the engine c. 1: angles from the sums of a last dense layer, so that they do not move in steps. 0: rounded to
// int8 first, as TensorFlow Lite does.
#ifndef SKETCH_FINE
#define SKETCH_FINE 1
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
