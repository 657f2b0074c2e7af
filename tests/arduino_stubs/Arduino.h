// What the sketch uses of Arduino, on a PC: Serial is standard input and output. Ends with the input.
#pragma once

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

inline unsigned long micros() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<unsigned long>(now.tv_sec) * 1000000UL + static_cast<unsigned long>(now.tv_nsec) / 1000UL;
}
inline unsigned long millis() { return micros() / 100; }  // ten times too fast: time-outs are short in tests
inline void delay(unsigned long) { exit(3); }             // only the sketch's Fail() waits

class SerialStub {
 public:
  void begin(long) {}
  explicit operator bool() const { return true; }
  int available() {
    pollfd input = {0, POLLIN, 0};
    return poll(&input, 1, 1) > 0 ? 1 : 0;
  }
  int read() {
    unsigned char byte;
    if (::read(0, &byte, 1) != 1) exit(0);
    return byte;
  }
  void print(const char* text) { fputs(text, stdout); }
  void print(int value) { printf("%d", value); }
  void print(unsigned long value) { printf("%lu", value); }
  template <class T>
  void println(T value) {
    print(value);
    fputs("\r\n", stdout);
    fflush(stdout);
  }
};
static SerialStub Serial __attribute__((unused));
