// What the sketch asks of C's mathematics: the page computes it (camera.js).
#ifndef WEB_MATH_H_
#define WEB_MATH_H_

extern "C" {
float expf(float x);
float logf(float x);
float fabsf(float x);
long lroundf(float x);
}

#endif  // WEB_MATH_H_
