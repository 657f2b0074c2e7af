// Arduino's core on a PC: serial is standard input and output, setup() runs once, then loop(), a given number of times or
// until the input ends.
#include <Arduino.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void setup();
void loop();

unsigned long micros() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<unsigned long>(now.tv_sec) * 1000000UL + static_cast<unsigned long>(now.tv_nsec) / 1000UL;
}
unsigned long millis() { return micros() / 100; }  // ten times too fast: time-outs are short in tests
void delay(unsigned long) { exit(3); }             // only a sketch's Fail() waits

int serial_available() {
  fflush(stdout);
  pollfd input = {0, POLLIN, 0};
  return poll(&input, 1, 1) > 0 ? 1 : 0;
}
int serial_read() {
  unsigned char byte;
  if (::read(0, &byte, 1) != 1) exit(0);
  return byte;
}
void serial_write(const char* bytes, size_t size) { fwrite(bytes, 1, size, stdout); }

int main(int, char** argv) {
  setup();
  for (long i = argv[1] ? atol(argv[1]) : 1000000000L; i > 0; --i) loop();
}
