// Finds a face in a camera's frame and follows it, with no detector but the model itself: a model that locates says of
// every crop whether a face is in it and where (hpe/model/outputs.py).
#ifndef SKETCH_FOLLOW_H_
#define SKETCH_FOLLOW_H_

#include "image.h"

namespace sketch {

// What the model says of a crop.
struct Sight {
  float right;  // the middle of the face's own crop right of that of the crop seen, as a share of its side
  float down;
  float size;   // the side of the face's own crop, as a share of that of the crop seen
  float score;  // how likely there is a face, 0 to 1
};

// How to read that from the outputs.
struct PlaceCode {
  int first;                // of the four outputs: shift right, shift down, log of the size, logit of a face
  float place_unit;         // this much is a shift by a whole crop, or a size e times as large
  float score_unit;         // this much is one in the logit
  float largest_shift;      // nothing beyond is believed
  float largest_log_size;
};

Sight ToSight(const float* outputs, const PlaceCode& code);

// Where the face's own crop lies: a square inside the frame.
Crop Corrected(const Crop& crop, const Sight& sight, int width, int height);

// The crops of a coarse scan: squares from the largest on, row by row, which overlap by two thirds.
class Scan {
 public:
  Scan(int width, int height) : width_(width), height_(height) { Restart(); }

  void Restart();

  Crop Here() const;

  // Goes to the next crop. Returns false, and starts again, after the last one.
  bool Next();

 private:
  void SetSize(int size);

  int width_, height_;
  int size_ = 0, columns_ = 0, rows_ = 0;
  int column_ = 0, row_ = 0;
};

// What to do after a look.
enum class Verdict {
  kAgain,      // look at Next() in the same frame
  kFace,       // the pose of this look is that of the face
  kSearching,  // no face yet: the scan goes on in the next frame
  kNoFace,     // the whole frame was scanned and no face found; the scan starts again
  kLost,       // the face that was followed is gone; the scan starts
};

// Whether a face is found or followed, and where to look next. A face is found where further looks, each at the crop as
// the one before corrected it, come to rest and are sure; a followed one gets a second look where it has moved.
//   take a frame; do { look at Next(); } while (Take(what the model saw) == kAgain);
class Follower {
 public:
  Follower(int width, int height) : width_(width), height_(height), scan_(width, height), crop_(scan_.Here()) {}

  Crop Next() const { return crop_; }

  Verdict Take(const Sight& sight);

  // Whether the last face was followed to where it is, not found by the scan.
  bool Followed() const { return followed_; }

 private:
  Verdict Here();
  Verdict NotHere();

  int width_, height_;
  Scan scan_;
  Crop crop_;
  bool following_ = false;  // the face was in the frame before
  bool followed_ = false;
  int further_ = 0;         // looks at crops that were corrected, since the last of the scan or of the frame before
  int looks_ = 0;           // in this frame, without a face
};

}  // namespace sketch

#endif  // SKETCH_FOLLOW_H_
