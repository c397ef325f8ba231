/* What every check in the emulator needs: numbers to draw, where weights lie, and a way to speak. */
#include <stdint.h>

enum { COLUMNS = LANES * VECTORS, BEHIND = 64 };

#ifdef HOSTED /* as a program of a system, where the processor alone is emulated */
#include <stdio.h>
static _Alignas(64) uint8_t memory[0x300000];
#define AT(place) (memory + (place) - 0x200000)
static void put(char c) { putchar(c); }
static void stop(void) {}
#else
/* The image is read only: what changes has an address of its own (rom.ld refuses all other). */
#define AT(place) (place)
static void put(char c) { __asm__ volatile("outb %0, %1" ::"a"(c), "Nd"((uint16_t)0xE9)); }
static void stop(void) {
  for (;;) __asm__ volatile("hlt");
}
#endif

#define STATE (*(uint32_t *)AT(0x4F0000))

static uint32_t drawn(void) { return (STATE = STATE * 1664525u + 1013904223u) >> 8; }

static void put_number(long n) {
  char digits[20];
  int i = 0;
  do digits[i++] = '0' + n % 10; while (n /= 10);
  while (i) put(digits[--i]);
}

/* Where a unit that takes several steps at once finds the weights of a row: one behind the other. */
static long weight_at(int row, int step, int steps) {
  int chunks = (steps + DEPTH - 1) / DEPTH, size = steps / chunks;
  long chunk = (long)(row / ROWS * chunks + step / size) * ROWS + row % ROWS;
  return (chunk * size + step % size) * GROUP;
}

static const int STEPS[] = {1, DEPTH > 1 ? 13 : 17, 3 * 11};

/* How many results of a draw are wrong. */
static long wrong(int steps, int count, int kind);

void check(void) {
  STATE = 12345;
  put('[');
  for (int kind = 0; kind < 3; kind++) {
    put_number(wrong(STEPS[kind], 1 + kind, kind));
    put(kind < 2 ? ' ' : ']');
  }
  stop();
}

#ifdef HOSTED
int main(void) { check(); }
#endif
