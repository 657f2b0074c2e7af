#include "follow.h"

#include <math.h>

namespace sketch {
namespace {

constexpr float kSure = 0.95f;         // from this score on a crop of the scan gets further looks, and a face is found
constexpr float kMaybe = 0.5f;         // below this one further looks end, and a face that was followed is gone
constexpr int kFurtherLooks = 3;       // at a crop of the scan, each corrected by the look before
constexpr float kCloseShift = 0.06f;   // a crop that is off by less needs no further look
constexpr float kCloseSize = 0.1f;     // likewise, as the log of the size
constexpr int kSmallestSide = 48;      // of a crop, in pixels of the frame
constexpr int kLooksPerFrame = 8;      // without a face: then a new frame is taken, lest it be older than a second
constexpr int kSteps = 3;              // of the scan in the side of a crop

float Limited(float value, float limit) { return value > limit ? limit : value < -limit ? -limit : value; }

int Clamped(long value, int least, int most) {
  return static_cast<int>(value < least ? least : value > most ? most : value);
}

// How many crops of `size` stand in a line of `length`, the first and last at its ends.
int Places(int length, int size) { return 1 + (kSteps * (length - size) + size - 1) / size; }

int Position(int index, int places, int room) { return places > 1 ? (room * index + (places - 1) / 2) / (places - 1) : 0; }

bool Close(const Sight& sight) {
  return fabsf(sight.right) < kCloseShift && fabsf(sight.down) < kCloseShift && fabsf(logf(sight.size)) < kCloseSize;
}

}  // namespace

Sight ToSight(const float* outputs, const PlaceCode& code) {
  const float* place = outputs + code.first;
  return {Limited(place[0] / code.place_unit, code.largest_shift),
          Limited(place[1] / code.place_unit, code.largest_shift),
          expf(Limited(place[2] / code.place_unit, code.largest_log_size)),
          1.0f / (1.0f + expf(-Limited(place[3] / code.score_unit, 30.0f)))};
}

Crop Corrected(const Crop& crop, const Sight& sight, int width, int height) {
  const float side = static_cast<float>(crop.size);
  const float middle_x = static_cast<float>(crop.x) + side * (0.5f + sight.right);
  const float middle_y = static_cast<float>(crop.y) + side * (0.5f + sight.down);
  const int largest = width < height ? width : height;
  const int size = Clamped(lroundf(side * sight.size), kSmallestSide < largest ? kSmallestSide : largest, largest);
  const float half = static_cast<float>(size) / 2.0f;
  return {Clamped(lroundf(middle_x - half), 0, width - size), Clamped(lroundf(middle_y - half), 0, height - size), size};
}

void Scan::Restart() { SetSize(width_ < height_ ? width_ : height_); }

void Scan::SetSize(int size) {
  size_ = size;
  columns_ = Places(width_, size);
  rows_ = Places(height_, size);
  column_ = row_ = 0;
}

Crop Scan::Here() const {
  return {Position(column_, columns_, width_ - size_), Position(row_, rows_, height_ - size_), size_};
}

bool Scan::Next() {
  if (++column_ < columns_) return true;
  column_ = 0;
  if (++row_ < rows_) return true;
  const int smaller = size_ * 2 / 3;
  if (smaller >= kSmallestSide) {
    SetSize(smaller);
    return true;
  }
  Restart();
  return false;
}

Verdict Follower::Take(const Sight& sight) {
  ++looks_;
  const bool further = further_ > 0;
  if (sight.score < (following_ || further ? kMaybe : kSure)) return NotHere();
  crop_ = Corrected(crop_, sight, width_, height_);
  if (following_ ? further || Close(sight) : further && Close(sight) && sight.score >= kSure) return Here();
  if (further_ == kFurtherLooks) return NotHere();
  ++further_;
  return Verdict::kAgain;
}

Verdict Follower::Here() {
  followed_ = following_;
  following_ = true;
  further_ = looks_ = 0;
  return Verdict::kFace;
}

Verdict Follower::NotHere() {
  const bool lost = following_;
  following_ = false;
  further_ = 0;
  bool more = true;
  if (lost) {
    scan_.Restart();
  } else {
    more = scan_.Next();
  }
  crop_ = scan_.Here();
  const bool same_frame = !lost && more && looks_ < kLooksPerFrame;
  if (!same_frame) looks_ = 0;
  return lost ? Verdict::kLost : !more ? Verdict::kNoFace : same_frame ? Verdict::kAgain : Verdict::kSearching;
}

}  // namespace sketch
