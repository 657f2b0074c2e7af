/* A QEMU plugin (TCG, API version 1): counts an arm64 guest's instructions, those that multiply and add float vectors
   (FMLA), and loads and stores; at each getppid of the guest it writes the three counts so far as a line. Built by emulated_pi.py with `cc -shared -fPIC`; the few declarations are those of qemu-plugin.h. */

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PUBLIC __attribute__((visibility("default")))
#define GETPPID 173 /* on arm64 */

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef void translated(plugin_id, struct qemu_plugin_tb *);
typedef void called(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                    uint64_t);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, called *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

PUBLIC int qemu_plugin_version = 1;

static uint64_t count, fma, memory; /* one thread of the guest computes: no lock */
static FILE *out;

/* FMLA (vector) and FMLA (by element), Arm Architecture Reference Manual, C4.1.96 */
static int is_fma(uint32_t code) {
  return (code & 0xBFA0FC00) == 0x0E20CC00 || (code & 0xBF80F400) == 0x0F801000;
}

static int is_memory(uint32_t code) { return (code >> 25 & 0x5) == 0x4; }

static void translate(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  size_t instructions = qemu_plugin_tb_n_insns(block), multiply = 0, access = 0;
  for (size_t i = 0; i < instructions; i++) {
    uint32_t code = *(const uint32_t *)qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i));
    multiply += is_fma(code);
    access += is_memory(code);
  }
  qemu_plugin_register_vcpu_tb_exec_inline(block, 0 /* add */, &count, instructions);
  qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &fma, multiply);
  qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &memory, access);
}

static void call(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                 uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number == GETPPID) {
    fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", count, fma, memory);
    fflush(out);
  }
}

PUBLIC int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info;
  out = fopen(argc > 0 ? argv[0] + 4 /* out= */ : "/dev/stderr", "w");
  qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
  qemu_plugin_register_vcpu_syscall_cb(id, call);
  return out == NULL;
}
