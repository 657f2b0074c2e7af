// Image frames over a serial line: 'H' 'P' 'F' '1', payload length and CRC-32 of the payload (both 32 bits, little
// endian), payload. The parser finds the next frame again after noise, lost bytes or a frame cut short.
#ifndef HEAD_POSE_FRAME_PARSER_H_
#define HEAD_POSE_FRAME_PARSER_H_

#include <stddef.h>
#include <stdint.h>

namespace head_pose {

constexpr size_t kFrameHeaderBytes = 12;

// CRC-32 of IEEE 802.3 (the one of zlib), continued from `crc`.
uint32_t Crc32(const uint8_t* data, size_t size, uint32_t crc = 0);

enum class FrameEvent {
  kNone,         // nothing to report: go on
  kFrame,        // the payload is complete and its checksum is right
  kBadLength,    // a header announced another size than the model's input
  kBadChecksum,  // a payload arrived damaged
};

class FrameParser {
 public:
  // Frames must carry exactly `payload_bytes`, which land in `payload`.
  FrameParser(uint8_t* payload, size_t payload_bytes) : payload_(payload), payload_bytes_(payload_bytes) {}

  // Takes the next byte of the line.
  FrameEvent Push(uint8_t byte);

  // Forgets a frame begun.
  void Reset() { header_count_ = payload_count_ = 0; }

  // Whether a frame has begun.
  bool InFrame() const { return header_count_ > 0; }

 private:
  FrameEvent FinishHeader();
  FrameEvent FinishPayload();
  void DropHeaderByte();
  bool HeaderMayBegin() const;

  uint8_t* payload_;
  size_t payload_bytes_;
  uint8_t header_[kFrameHeaderBytes] = {};
  size_t header_count_ = 0;
  size_t payload_count_ = 0;
};

}  // namespace head_pose

#endif  // HEAD_POSE_FRAME_PARSER_H_
