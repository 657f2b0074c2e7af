/* Bare-metal start for an emulated Cortex-M4: vectors, zeroed .bss, semihosting for the output, the clock.

   qemu loads every segment where it runs (no copy of .data) and the caller's bytes at INPUT: a word with their number,
   padding to 16, the bytes. Output goes to two files in the working directory, as semihosting writes them. */
#include "emulator.h"

#define INPUT 0x21000000u
#define TIMER ((volatile uint32_t *)0x40000000u) /* CMSDK timer 0: control, value, reload; 25 MHz */
#define COPROCESSORS ((volatile uint32_t *)0xE000ED88u)

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_EXIT = 0x18 };
enum { OPEN_WRITE_BINARY = 5 };
#define STOPPED_WELL 0x20026u /* ADP_Stopped_ApplicationExit */
#define STOPPED_BADLY 0x20023u

extern uint32_t stack_top, bss_start, bss_end;
extern int main(void);
void reset_handler(void);

static int output_file, count_file;

static int semihost(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static void stop(uint32_t reason) {
  for (;;) semihost(SYS_EXIT, (const void *)reason);
}

static int open_file(const char *name, uint32_t length) {
  const uint32_t argument[3] = {(uint32_t)name, OPEN_WRITE_BINARY, length};
  const int file = semihost(SYS_OPEN, argument);
  if (file < 0) stop(STOPPED_BADLY);
  return file;
}

static void write_file(int file, const void *bytes, uint32_t size) {
  const uint32_t argument[3] = {(uint32_t)file, (uint32_t)bytes, size};
  if (semihost(SYS_WRITE, argument) != 0) stop(STOPPED_BADLY);
}

void emulator_exit(int code) { stop(code == 0 ? STOPPED_WELL : STOPPED_BADLY); }
uint8_t *emulator_input(void) { return (uint8_t *)(INPUT + 16); }
uint32_t emulator_input_size(void) { return *(const uint32_t *)INPUT; }
void emulator_output(const void *bytes, uint32_t size) { write_file(output_file, bytes, size); }
void emulator_count(uint32_t instructions) { write_file(count_file, &instructions, sizeof instructions); }

/* An instruction takes 1 ns of emulated time and the timer ticks every 40 ns. Forty readings, 7 instructions apart,
   meet every phase of a tick exactly once (7 and 40 have no common divisor), so that their sum grows by exactly one
   per instruction. */
__attribute__((naked, noinline)) uint32_t emulator_clock(void) {
  __asm__ volatile(
      "  ldr r1, =0x40000000\n"
      "  movs r0, #0\n"
      "  movs r3, #40\n"
      "1: ldr r2, [r1, #4]\n"
      "  subs r0, r0, r2\n" /* the timer counts down */
      "  nop\n"
      "  nop\n"
      "  nop\n"
      "  subs r3, #1\n"
      "  bne 1b\n"
      "  bx lr\n"
      "  .ltorg\n");
}

static void fault(void) { stop(STOPPED_BADLY); }

void reset_handler(void) {
  *COPROCESSORS |= 0xFu << 20; /* the FPU on */
  __asm__ volatile("dsb\n\tisb");
  for (uint32_t *word = &bss_start; word < &bss_end; ++word) *word = 0;
  TIMER[0] = 0;
  TIMER[2] = 0xFFFFFFFFu;
  TIMER[1] = 0xFFFFFFFFu;
  TIMER[0] = 1;
  output_file = open_file("output.bin", 10);
  count_file = open_file("counts.bin", 10);
  emulator_exit(main());
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)&stack_top, (uintptr_t)reset_handler, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault,      (uintptr_t)fault,         0,                0,                0,
    0,                     (uintptr_t)fault,         (uintptr_t)fault, 0,                (uintptr_t)fault,
    (uintptr_t)fault};
