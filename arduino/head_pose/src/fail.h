// What a sketch does that cannot go on. Only the .ino includes this file.
#ifndef SKETCH_FAIL_H_
#define SKETCH_FAIL_H_

namespace sketch {

// Says what is wrong again and again: the serial monitor may be opened late.
inline void Fail(const char* reason) {
  while (true) {
    Serial.print("# error: ");
    Serial.println(reason);
    delay(2000);
  }
}

}  // namespace sketch

#endif  // SKETCH_FAIL_H_
