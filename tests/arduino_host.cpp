// Drives the sketch's plain C++ for tests/test_arduino.py: one mode an invocation, binary in, binary or text out.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "src/follow.h"
#include "src/frame_parser.h"
#include "src/image.h"
#include "src/pose.h"

#ifdef WITH_LOGISTIC
#include "op_resolver.h"
#endif

using namespace sketch;

static std::vector<uint8_t> ReadAll() {
  std::vector<uint8_t> all;
  uint8_t chunk[4096];
  for (size_t n; (n = fread(chunk, 1, sizeof(chunk), stdin)) > 0;) all.insert(all.end(), chunk, chunk + n);
  return all;
}

static void ReadTable(const std::vector<uint8_t>& in, QuantizeTable& table) { memcpy(table, in.data(), sizeof(table)); }

// resize WIDTH HEIGHT OUT < table, frame > int8
static void Resize(int width, int height, int out_size) {
  std::vector<uint8_t> in = ReadAll();
  QuantizeTable table;
  ReadTable(in, table);
  std::vector<int8_t> out(static_cast<size_t>(out_size * out_size * 3));
  ResizeRgb565(in.data() + sizeof(table), width, CentreSquare(width, height), out_size, table, out.data());
  fwrite(out.data(), 1, out.size(), stdout);
}

// quantize < table, rgb > int8
static void Quantize() {
  std::vector<uint8_t> in = ReadAll();
  QuantizeTable table;
  ReadTable(in, table);
  uint8_t* rgb = in.data() + sizeof(table);
  const size_t pixels = (in.size() - sizeof(table)) / 3;
  QuantizePixels(rgb, pixels, 3, table);
  fwrite(rgb, 1, 3 * pixels, stdout);
}

// parse PAYLOAD < stream > one letter per event: L (length), C (checksum), F with sequence byte and payload
static void Parse(size_t payload_bytes) {
  std::vector<uint8_t> payload(payload_bytes);
  FrameParser parser(payload.data(), payload_bytes);
  for (uint8_t byte : ReadAll()) {
    const FrameEvent event = parser.Push(byte);
    if (event == FrameEvent::kBadLength) fputc('L', stdout);
    if (event == FrameEvent::kBadChecksum) fputc('C', stdout);
    if (event == FrameEvent::kFrame) {
      fputc('F', stdout);
      fputc(parser.Sequence(), stdout);
      fwrite(payload.data(), 1, payload_bytes, stdout);
    }
  }
}

// decode SCALE ZERO_POINT DEGREES YAW PITCH ROLL < int8 triples > lines
static void Decode(char** argv) {
  const PoseCode code = {strtof(argv[4], nullptr), atoi(argv[5]), atoi(argv[6]), atoi(argv[7])};
  const std::vector<uint8_t> in = ReadAll();
  for (size_t i = 0; i + 3 <= in.size(); i += 3) {
    char line[64];
    float outputs[3];
    Dequantize(reinterpret_cast<const int8_t*>(&in[i]), 3, strtof(argv[2], nullptr), atoi(argv[3]), outputs);
    FormatPose(ToPose(outputs, code), static_cast<uint32_t>(i), static_cast<uint8_t>(i), line, sizeof(line));
    puts(line);
  }
}

// scan WIDTH HEIGHT > x y size of each crop of one scan
static void PrintScan(int width, int height) {
  Scan scan(width, height);
  do {
    const Crop crop = scan.Here();
    printf("%d %d %d\n", crop.x, crop.y, crop.size);
  } while (scan.Next());
}

// follow WIDTH HEIGHT < four outputs of each look > verdict, and x y size of the next look
static void Follow(int width, int height) {
  const PlaceCode code = {0, 300.0f, 10.0f, 0.35f, 0.693147f};
  Follower follower(width, height);
  float outputs[4];
  while (scanf("%f %f %f %f", &outputs[0], &outputs[1], &outputs[2], &outputs[3]) == 4) {
    const int verdict = static_cast<int>(follower.Take(ToSight(outputs, code)));
    const Crop crop = follower.Next();
    printf("%c %d %d %d\n", "AFSNL"[verdict], crop.x, crop.y, crop.size);
  }
}

#ifdef WITH_LOGISTIC
static TfLiteEvalTensor tensors[2];
static TfLiteEvalTensor* GetTensor(const TfLiteContext*, int index) { return &tensors[index]; }

// logistic COUNT > for each LOGISTIC of the generated resolver: its outputs for -128 ... 127
static void Logistic(int count) {
  OpResolver resolver;
  if (RegisterOps(resolver) != kTfLiteOk) exit(1);
  const TFLMRegistration* registration =
      static_cast<const tflite::MicroOpResolver&>(resolver).FindOp(tflite::BuiltinOperator_LOGISTIC);
  TfLiteContext context = {GetTensor};
  TfLiteIntArray dims = {2, {16, 16, 0, 0}}, first = {1, {0, 0, 0, 0}}, second = {1, {1, 0, 0, 0}};
  int8_t in[256], out[256];
  for (int i = 0; i < 256; ++i) in[i] = static_cast<int8_t>(i - 128);
  tensors[0] = {{in}, &dims, kTfLiteInt8};
  tensors[1] = {{out}, &dims, kTfLiteInt8};
  for (int i = 0; i < count; ++i) {
    if (OpsAreReady()) exit(1);
    TfLiteNode node = {&first, &second, registration->init(&context, nullptr, 0)};
    if (registration->invoke(&context, &node) != kTfLiteOk) exit(1);
    fwrite(out, 1, sizeof(out), stdout);
  }
  TfLiteNode one_too_many = {&first, &second, registration->init(&context, nullptr, 0)};
  if (registration->invoke(&context, &one_too_many) != kTfLiteError || OpsAreReady()) exit(1);
}
#endif

int main(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "";
  if (!strcmp(mode, "resize")) Resize(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
  if (!strcmp(mode, "quantize")) Quantize();
  if (!strcmp(mode, "scan")) PrintScan(atoi(argv[2]), atoi(argv[3]));
  if (!strcmp(mode, "follow")) Follow(atoi(argv[2]), atoi(argv[3]));
  if (!strcmp(mode, "parse")) Parse(static_cast<size_t>(atoi(argv[2])));
  if (!strcmp(mode, "decode")) Decode(argv);
#ifdef WITH_LOGISTIC
  if (!strcmp(mode, "logistic")) Logistic(atoi(argv[2]));
#endif
  return 0;
}
