#include "frame_parser.h"

#include <string.h>

namespace head_pose {
namespace {

constexpr uint8_t kMagic[4] = {'H', 'P', 'F', '1'};

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
  if (header_count_ < kFrameHeaderBytes) {
    header_[header_count_++] = byte;
    while (!HeaderMayBegin()) DropHeaderByte();
    return header_count_ == kFrameHeaderBytes ? FinishHeader() : FrameEvent::kNone;
  }
  payload_[payload_count_++] = byte;
  return payload_count_ == payload_bytes_ ? FinishPayload() : FrameEvent::kNone;
}

// Whether the bytes held so far can be the start of a frame. True for none.
bool FrameParser::HeaderMayBegin() const {
  const size_t count = header_count_ < sizeof(kMagic) ? header_count_ : sizeof(kMagic);
  return memcmp(header_, kMagic, count) == 0;
}

void FrameParser::DropHeaderByte() { memmove(header_, header_ + 1, --header_count_); }

FrameEvent FrameParser::FinishHeader() {
  if (LittleEndian32(header_ + 4) == payload_bytes_) return FrameEvent::kNone;
  do DropHeaderByte();
  while (!HeaderMayBegin());
  return FrameEvent::kBadLength;
}

FrameEvent FrameParser::FinishPayload() {
  const size_t count = payload_count_;
  const uint32_t announced = LittleEndian32(header_ + 8);
  Reset();
  if (Crc32(payload_, count) == announced) return FrameEvent::kFrame;
  // A frame that lost bytes has swallowed the start of the next one: look for it in what was taken as payload. The bytes
  // are read ahead of where they are written, and they are too few to complete another frame.
  for (size_t i = 0; i < count; ++i) Push(payload_[i]);
  return FrameEvent::kBadChecksum;
}

}  // namespace head_pose
