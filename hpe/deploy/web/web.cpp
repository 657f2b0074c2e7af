// The sketch of a board for a page: a picture of the reader's camera in, what the sketch would say of it out.
#include <stdint.h>

namespace {

// Nobody reads a serial port here.
struct {
  template <class Text>
  void print(Text) {}
  template <class Text>
  void println(Text) {}
} Serial;

}  // namespace

#include "model_settings.h"
#include "src/engine.h"
#include "src/follow.h"
#include "src/image.h"
#include "src/pose.h"

namespace {

constexpr int kLongestSide = 320;
constexpr int kMostPixels = kLongestSide * kLongestSide;
uint8_t pixels[4 * kMostPixels];  // red, green, blue and opacity, as a page has them
uint8_t frame[2 * kMostPixels];   // RGB565, as a board's camera sends it
int frame_width = 0, frame_height = 0;

struct {
  float x, y, side;  // the face's square, as the last look at it put it right, in pixels of the frame
  float yaw_deg, pitch_deg, roll_deg;
  float score;       // how likely there is a face in it, 0 to 1
  float looks;       // that the frame took
  float followed;    // 1: from where the face was in the frame before; 0: it was found anew
} answer;

sketch::Follower& TheFollower() {
  static sketch::Follower follower(1, 1);
  return follower;
}

void PackFrame() {
  for (int i = 0; i < frame_width * frame_height; ++i) {
    const uint8_t* rgb = pixels + 4 * i;
    const unsigned value = (rgb[0] & 0xf8u) << 8 | (rgb[1] & 0xfcu) << 3 | rgb[2] >> 3;
    frame[2 * i] = static_cast<uint8_t>(value >> 8);
    frame[2 * i + 1] = static_cast<uint8_t>(value);
  }
}

}  // namespace

extern "C" {

int web_longest_side() { return kLongestSide; }

// Where the page puts a picture, and where it finds the answer.
uint8_t* web_pixels() { return pixels; }
const void* web_answer() { return &answer; }

// Frames are `width` x `height` pixels from now on, at most kLongestSide each; the search starts.
void web_begin(int width, int height) {
  frame_width = width;
  frame_height = height;
  TheFollower() = sketch::Follower(width, height);
}

// Searches or follows the face in the picture at web_pixels(), as loop() of the sketch does. Returns the sketch::Verdict.
int web_follow() {
  sketch::Follower& follower = TheFollower();
  float outputs[sketch::kOutputs];
  answer.looks = 0.0f;
  sketch::Verdict verdict;
  PackFrame();
  do {
    sketch::ResizeRgb565(frame, frame_width, follower.Next(), sketch::kImageSize, sketch::kQuantizeTable,
                         sketch::ModelInput());
    if (!sketch::RunModel(outputs)) __builtin_trap();
    const sketch::Sight sight = sketch::ToSight(outputs, sketch::kPlaceCode);
    verdict = follower.Take(sight);
    answer.score = sight.score;
    answer.looks += 1.0f;
  } while (verdict == sketch::Verdict::kAgain);
  const sketch::Crop crop = follower.Next();
  answer.x = static_cast<float>(crop.x);
  answer.y = static_cast<float>(crop.y);
  answer.side = static_cast<float>(crop.size);
  const sketch::Pose pose = sketch::ToPose(outputs, sketch::kPoseCode);
  answer.yaw_deg = pose.yaw_deg;
  answer.pitch_deg = pose.pitch_deg;
  answer.roll_deg = pose.roll_deg;
  answer.followed = follower.Followed() ? 1.0f : 0.0f;
  return static_cast<int>(verdict);
}

}  // extern "C"
