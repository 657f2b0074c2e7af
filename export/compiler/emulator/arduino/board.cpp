// Arduino's core on the emulated Cortex-M4: the caller's bytes arrive over serial, what is printed goes back, and the
// program ends with its input. micros() counts instructions, so that a sketch's microseconds are instructions.
#include "Arduino.h"

extern "C" {
#include "../emulator.h"
}

void setup();
void loop();

static uint32_t taken = 0;  // bytes of the input that were read

unsigned long micros() {
  static uint32_t calls = 0;
  return emulator_clock() - EMULATOR_CLOCK_COST * ++calls;
}
unsigned long millis() { return micros() / 1000; }
void delay(unsigned long) { emulator_exit(1); }  // only a sketch's Fail() waits

int serial_available() { return static_cast<int>(emulator_input_size() - taken); }
int serial_read() { return serial_available() > 0 ? emulator_input()[taken++] : -1; }
void serial_write(const char* bytes, size_t size) { emulator_output(bytes, static_cast<uint32_t>(size)); }

extern "C" int main() {
  setup();
  while (serial_available() > 0) loop();
  return 0;
}
