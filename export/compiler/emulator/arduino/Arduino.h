// What the sketches use of Arduino, for computers that are no board. Where bytes come from and go to is the stand-in's:
// board.cpp beside this file for the emulated Cortex-M4, the tests' own for a PC.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <string.h>

unsigned long micros();
unsigned long millis();
void delay(unsigned long ms);

// The serial line.
int serial_available();
int serial_read();
void serial_write(const char* bytes, size_t size);

class SerialStub {
 public:
  void begin(long) {}
  explicit operator bool() const { return true; }
  int available() { return serial_available(); }
  int read() { return serial_read(); }
  void print(const char* text) { serial_write(text, strlen(text)); }
  void print(int value) { PrintNumber("%d", value); }
  void print(unsigned long value) { PrintNumber("%lu", value); }
  template <class T>
  void println(T value) {
    print(value);
    print("\r\n");
  }

 private:
  template <class T>
  void PrintNumber(const char* format, T value) {
    char text[24];
    snprintf(text, sizeof(text), format, value);
    print(text);
  }
};
static SerialStub Serial __attribute__((unused));
