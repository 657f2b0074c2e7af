// The sketch writes lines for a serial port with it; a page does not, and the linker leaves that out.
#ifndef WEB_STDIO_H_
#define WEB_STDIO_H_

#include <stddef.h>

extern "C" int snprintf(char* text, size_t size, const char* format, ...);

#endif  // WEB_STDIO_H_
