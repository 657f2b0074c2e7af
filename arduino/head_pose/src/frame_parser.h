// Frames over a serial line: the bytes of an input (of an image RGB), one sequence byte, and the CRC-32 of both (little
// endian; for int8 values that of the letters "int8" and both), in COBS (consistent overhead byte stuffing, Cheshire &
// Baker 1999): a zero byte stands between frames and nowhere inside one, so that the next frame is found again whatever
// was lost.
#ifndef SKETCH_FRAME_PARSER_H_
#define SKETCH_FRAME_PARSER_H_

#include <stddef.h>
#include <stdint.h>

namespace sketch {

// CRC-32 of IEEE 802.3 (the one of zlib), continued from `crc`.
uint32_t Crc32(const uint8_t* data, size_t size, uint32_t crc = 0);

// What the bytes of an input are, as the CRC-32 that a frame's continues: a frame of the other kind is known as such.
enum class Values : uint32_t {
  kUint8 = 0,          // of an image, 0 to 255
  kInt8 = 0x467285d3,  // as the model takes them; the CRC-32 of "int8"
};

enum class FrameEvent {
  kNone,         // nothing to report: go on
  kFrame,        // the payload is complete and its checksum is right
  kBadLength,    // what stood between two zeros has another size than a frame for this model
  kBadChecksum,  // a frame arrived damaged
  kOtherValues,  // a whole frame of the other kind of values
};

class FrameParser {
 public:
  // Frames must carry exactly `payload_bytes` of `values`, which land in `payload`.
  FrameParser(uint8_t* payload, size_t payload_bytes, Values values = Values::kUint8)
      : payload_(payload), payload_bytes_(payload_bytes), values_(values) {}

  // Takes the next byte of the line.
  FrameEvent Push(uint8_t byte);

  // Forgets a frame begun.
  void Reset();

  // Whether a frame has begun.
  bool InFrame() const { return begun_; }

  // The sequence byte of the last whole frame; the answer repeats it.
  uint8_t Sequence() const { return tail_[0]; }

 private:
  static constexpr size_t kTailBytes = 5;  // sequence, CRC-32

  FrameEvent Finish();
  bool Matches(Values values) const;
  void Store(uint8_t byte);

  uint8_t* payload_;
  size_t payload_bytes_;
  Values values_;
  uint8_t tail_[kTailBytes] = {};
  size_t count_ = 0;        // decoded bytes
  uint8_t left_ = 0;        // bytes left in this block
  bool zero_next_ = false;  // the block stands for a zero, too, unless the frame ends with it
  bool begun_ = false;
};

}  // namespace sketch

#endif  // SKETCH_FRAME_PARSER_H_
