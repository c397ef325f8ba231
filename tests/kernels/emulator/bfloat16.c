/* Holds tiles of bfloat16 (tsm_ref.kernels.bfloat16.tile) to plain sums, without a system.

   Compiled as tiles.c. A draw is of small whole numbers, whose sums every order gives, or of any
   numbers: then a sum has to be within its bound of that in float64, and with vdpbf16ps, whose order
   is known, equal to one in float32. The residual and the ends are added to both. */
#include "check.h"

enum { FORMS = 2 };

extern void tiles(int64_t x, int64_t weights, int64_t steps, int64_t tiles, int64_t bias,
                  int64_t residual, int64_t y, int64_t y_row, float low, float high);

#define X ((uint16_t *)AT(0x200000))
#define W ((uint16_t *)AT(0x300000))
#define BIAS ((float *)AT(0x400000))
#define RESIDUAL ((float *)AT(0x410000))
#define Y ((float *)AT(0x480000))

typedef union { uint32_t bits; float value; } word;

static float widened(uint16_t half) { return (word){.bits = (uint32_t)half << 16}.value; }

/* A number of bfloat16: whole and small, or any of about that size. */
static uint16_t half_of(int kind) {
  int whole = (int)(drawn() % 15) - 7;
  word drawn_word = {.value = kind ? whole + (float)(drawn() & 0xFFFF) / 65536 : whole};
  return drawn_word.bits >> 16;
}

static float absolute(double v) { return v < 0 ? -v : v; }

static int right(float y, int row, int column, int steps, float residual, int kind) {
  double sum = 0, size = 0;
  volatile float ordered = 0;
  for (int s = 0; s < steps; s++)
    for (int g = 1; g >= 0; g--) {
      double x = widened(X[(s * COLUMNS + column) * 2 + g]);
      double product = x * widened(W[weight_at(row, s, steps) + g]);
      sum += product;
      size += absolute(product);
      ordered = ordered + (float)product;
    }
  volatile float v = kind ? (float)sum : ordered;
  if (DEPTH == 1) v = ordered;
  v = v + BIAS[row];
  v = v + residual;
  float within = v < -5.0f ? -5.0f : v > 240.0f ? 240.0f : v;
  if (kind == 0 || DEPTH == 1) return y == within;
  return absolute((double)y - within) <= (2 * steps + 4) * (size + 16) / (1 << 24);
}

static long wrong(int steps, int count, int kind) {
  int rows = count * ROWS;
  long found = 0, size = (long)rows * COLUMNS;
  for (long i = 0; i < (long)steps * COLUMNS * 2; i++) X[i] = half_of(kind);
  for (long i = 0; i < (long)rows * steps * 2; i++) W[i] = half_of(kind);
  for (int r = 0; r < rows; r++) BIAS[r] = (float)(drawn() % 31) - 15;
  for (long i = 0; i < size; i++) RESIDUAL[i] = (float)(drawn() % 127) / 2;
  for (int form = 0; form < FORMS; form++) {
    for (long i = 0; i < size + BEHIND; i++) Y[i] = 12345;
    tiles((int64_t)X, (int64_t)W, steps, count, (int64_t)BIAS, form ? (int64_t)RESIDUAL : 0,
          (int64_t)Y, COLUMNS * 4, -5.0f, 240.0f);
    Y[0] += 1024 * MISTAKE;
    for (long i = 0; i < size; i++)
      found += !right(Y[i], i / COLUMNS, i % COLUMNS, steps, form ? RESIDUAL[i] : 0, kind);
    for (int i = 0; i < BEHIND; i++) found += Y[size + i] != 12345;
  }
  return found;
}
