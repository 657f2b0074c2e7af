// What you may want to change before flashing. Everything about the model is in model_settings.h, which is generated.
#ifndef HEAD_POSE_CONFIG_H_
#define HEAD_POSE_CONFIG_H_

// Where images come from. 0: frames over serial from a PC (`hpe serial`). 1: an OV7675 camera.
#ifndef HEAD_POSE_CAMERA
#define HEAD_POSE_CAMERA 0
#endif

// The TensorFlow Lite Micro library, where `hpe deploy --engine tflm` wrote the sketch. 0: Arduino_TensorFlowLite. 1: Chirale_TensorFLowLite.
#ifndef HEAD_POSE_CHIRALE
#define HEAD_POSE_CHIRALE 0
#endif

namespace head_pose {

constexpr long kBaud = 115200;                   // boards with native USB ignore it
constexpr unsigned long kFrameTimeoutMs = 1000;  // silence inside a frame after which it is given up

}  // namespace head_pose

#endif  // HEAD_POSE_CONFIG_H_
