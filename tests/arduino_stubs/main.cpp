// Runs the sketch as Arduino's core does: setup() once, then loop(), here a given number of times.
#include <stdlib.h>

void setup();
void loop();

int main(int, char** argv) {
  setup();
  for (long i = argv[1] ? atol(argv[1]) : 1000000000L; i > 0; --i) loop();
}
