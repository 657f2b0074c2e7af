// WebAssembly has instructions for these.
#ifndef WEB_STRING_H_
#define WEB_STRING_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif  // WEB_STRING_H_
