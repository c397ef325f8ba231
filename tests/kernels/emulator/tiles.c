/* Holds tiles of whole numbers (tsm_ref.kernels.integer.tile) to plain sums, with or without a system.

   Compiled with the LANES, GROUP, ROWS, VECTORS, DEPTH and SIGNED of one unit, whose code is `tiles`:
   where it takes several steps at once, the weights of these lie row by row. It says how many values
   are wrong, of which there must be none but a MISTAKE. */
#include "check.h"

enum { FORMS = 3, WHOLE = 0, REAL = 1 };

extern void tiles(int64_t x, int64_t weights, int64_t steps, int64_t tiles, int64_t bias,
                  int64_t factor, int64_t y, int64_t y_row, int64_t form, int64_t zero, float low,
                  float high);

#if SIGNED
typedef int8_t input;
typedef int8_t weight;
enum { LOW = -128, HIGH = 127 };
#elif GROUP == 4
typedef uint8_t input;
typedef int8_t weight;
enum { LOW = 0, HIGH = 255 };
#else
typedef int16_t input;
typedef int16_t weight;
enum { LOW = -255, HIGH = 255 };
#endif

#define X ((input *)AT(0x200000))
#define W ((weight *)AT(0x300000))
#define BIAS ((int32_t *)AT(0x400000))
#define FACTOR ((float *)AT(0x410000))
#define Y ((uint8_t *)AT(0x420000))

static int32_t sum(int row, int column, int steps) {
  uint32_t acc = BIAS[row];
  for (int s = 0; s < steps; s++)
    for (int g = 0; g < GROUP; g++)
      acc += X[(s * COLUMNS + column) * GROUP + g] * W[weight_at(row, s, steps) + g];
  return (int32_t)acc;
}

static int right(int form, long at, int row, int32_t acc) {
  if (form != WHOLE && form != REAL) return ((int32_t *)Y)[at] == acc;
  volatile float v = (float)acc;
  v = v * FACTOR[row];
  if (form == REAL) return ((float *)Y)[at] == v;
  float within = v < -5.0f ? -5.0f : v > 240.0f ? 240.0f : v;
  /* Where numbers are one apart, a sum is rounded to whole ones: halves to even. */
  volatile float whole = within + 12582912.0f;
  whole = whole - 12582912.0f;
  return Y[at] == (uint8_t)((int)whole + 7);
}

/* `ends`: most numbers are the largest there are, so that whatever can saturate does. */
static long wrong(int steps, int count, int ends) {
  int rows = count * ROWS;
  long found = 0;
  for (long i = 0; i < (long)steps * COLUMNS * GROUP; i++)
    X[i] = ends ? (drawn() & 1 ? HIGH : LOW) : (int)(drawn() % (HIGH - LOW + 1)) + LOW;
  for (long i = 0; i < (long)rows * steps * GROUP; i++)
    W[i] = ends && (drawn() & 3) ? -128 : (int)(drawn() & 255) - 128;
  for (int r = 0; r < rows; r++) {
    BIAS[r] = ends == 2 ? (int)(drawn() % 2000) - 1000 : (int32_t)(drawn() << 8 ^ drawn());
    FACTOR[r] = r & 1 ? 0.5f : 1.0f / (1 << (r % 20 + 1));
  }
  for (int form = 0; form < FORMS; form++) {
    long row_bytes = COLUMNS * (form == WHOLE ? 1 : 4), size = rows * row_bytes;
    for (long i = 0; i < size + BEHIND; i++) Y[i] = 0xAA;
    tiles((int64_t)X, (int64_t)W, steps, count, (int64_t)BIAS, (int64_t)FACTOR, (int64_t)Y,
          row_bytes, form, 7, -5.0f, 240.0f);
    Y[0] ^= MISTAKE;
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < COLUMNS; c++)
        found += !right(form, (long)r * COLUMNS + c, r, sum(r, c, steps));
    for (int i = 0; i < BEHIND; i++) found += Y[size + i] != 0xAA;
  }
  return found;
}
