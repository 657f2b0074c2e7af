#include "frame_parser.h"

namespace sketch {
namespace {

uint32_t LittleEndian32(const uint8_t* bytes) {
  return static_cast<uint32_t>(bytes[0]) | static_cast<uint32_t>(bytes[1]) << 8 |
         static_cast<uint32_t>(bytes[2]) << 16 | static_cast<uint32_t>(bytes[3]) << 24;
}

}  // namespace

uint32_t Crc32(const uint8_t* data, size_t size, uint32_t crc) {
  // Four bits at a time: a table of 64 bytes instead of 1,024.
  static const uint32_t kNibbles[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  crc = ~crc;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    crc = (crc >> 4) ^ kNibbles[crc & 15];
    crc = (crc >> 4) ^ kNibbles[crc & 15];
  }
  return ~crc;
}

FrameEvent FrameParser::Push(uint8_t byte) {
  if (byte == 0) {
    const FrameEvent event = begun_ ? Finish() : FrameEvent::kNone;
    Reset();
    return event;
  }
  begun_ = true;
  if (left_ > 0) {
    Store(byte);
    --left_;
    return FrameEvent::kNone;
  }
  if (zero_next_) Store(0);
  left_ = byte - 1;
  zero_next_ = byte != 0xff;
  return FrameEvent::kNone;
}

void FrameParser::Reset() {
  count_ = 0;
  left_ = 0;
  zero_next_ = begun_ = false;
}

void FrameParser::Store(uint8_t byte) {
  if (count_ < payload_bytes_) {
    payload_[count_] = byte;
  } else if (count_ < payload_bytes_ + kTailBytes) {
    tail_[count_ - payload_bytes_] = byte;
  } else if (count_ > payload_bytes_ + kTailBytes) {
    return;  // too long, and counted as such
  }
  ++count_;
}

FrameEvent FrameParser::Finish() {
  if (left_ > 0 || count_ != payload_bytes_ + kTailBytes) return FrameEvent::kBadLength;
  if (Matches(values_)) return FrameEvent::kFrame;
  const Values other = values_ == Values::kInt8 ? Values::kUint8 : Values::kInt8;
  return Matches(other) ? FrameEvent::kOtherValues : FrameEvent::kBadChecksum;
}

bool FrameParser::Matches(Values values) const {
  const uint32_t found = Crc32(tail_, 1, Crc32(payload_, payload_bytes_, static_cast<uint32_t>(values)));
  return found == LittleEndian32(tail_ + 1);
}

}  // namespace sketch
