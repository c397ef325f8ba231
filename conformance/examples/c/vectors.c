/* The test vectors from C, with nothing but the C library: reads index.txt, runs what it offers (here
 * the temporal shift and ReLU of float32), and compares with the right answers.
 *
 *     tsm-conformance vectors vectors.zip && unzip vectors.zip
 *     cc -O2 -o vectors vectors.c -lm && ./vectors tsm-vectors
 *
 * A line of index.txt: place, operation, rule, files of the inputs, attributes as name=value.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_AXES = 8, MAX_HEADER = 65536 };

typedef struct {
    int axes;
    size_t shape[MAX_AXES], count;
    char type[8]; /* "<f4": little-endian, a float of 4 bytes */
    void *data;
} Array;

static void fail(const char *what, const char *path) {
    fprintf(stderr, "%s: %s\n", path, what);
    exit(2);
}

/* Reads a .npy file of format 1.0 in C order. The sizes in it are trusted only as far as the bytes
 * that are really there. */
static Array read_npy(const char *path) {
    Array a = {0, {0}, 1, "", NULL};
    unsigned char magic[10];
    FILE *file = fopen(path, "rb");
    if (!file || fread(magic, 1, 10, file) != 10 || memcmp(magic, "\x93NUMPY\x01", 7))
        fail("no .npy file of format 1.0", path);
    size_t length = magic[8] + 256u * magic[9];
    char header[MAX_HEADER], *at;
    if (fread(header, 1, length, file) != length) fail("it ends in its header", path);
    header[length < MAX_HEADER ? length : MAX_HEADER - 1] = 0;
    if (!(at = strstr(header, "'descr': '")) || sscanf(at + 10, "%7[^']", a.type) != 1)
        fail("it names no type", path);
    if (!(at = strstr(header, "'shape': ("))) fail("it has no shape", path);
    for (at += 10; *at && *at != ')' && a.axes < MAX_AXES; at++) {
        if (*at < '0' || *at > '9') continue;
        a.shape[a.axes] = strtoul(at, &at, 10);
        a.count *= a.shape[a.axes++];
        at--;
    }
    long begin = ftell(file);
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)(ftell(file) - begin), size = strtoul(a.type + 2, NULL, 10);
    if (!size || bytes % size || bytes / size != a.count)
        fail("its size is not that of its shape", path);
    fseek(file, begin, SEEK_SET);
    if (!(a.data = malloc(bytes ? bytes : 1)) || fread(a.data, 1, bytes, file) != bytes)
        fail("it cannot be read", path);
    fclose(file);
    return a;
}

/* x (N, C, T, H, W): the first C / div channels read the next frame, as many the one before. */
static float *temporal_shift(const Array *x, size_t div) {
    size_t C = x->shape[1], T = x->shape[2], fold = C / div, plane = x->shape[3] * x->shape[4];
    const float *from = x->data;
    float *y = calloc(x->count ? x->count : 1, sizeof *y);
    for (size_t nc = 0; y && nc < x->shape[0] * C; nc++) {
        size_t c = nc % C;
        int d = c < fold ? 1 : c < 2 * fold ? -1 : 0;
        for (size_t t = 0; t < T; t++) {
            if ((d > 0 && t + 1 == T) || (d < 0 && t == 0)) continue;
            memcpy(y + (nc * T + t) * plane, from + (nc * T + t + d) * plane, plane * sizeof *y);
        }
    }
    return y;
}

static float *relu(const Array *x) {
    const float *from = x->data;
    float *y = calloc(x->count ? x->count : 1, sizeof *y);
    for (size_t i = 0; y && i < x->count; i++) y[i] = from[i] > 0 ? from[i] : 0;
    return y;
}

/* How many values are wrong by the rule of the question. */
static size_t wrong(const char *rule, const float *y, const char *folder, size_t count) {
    char path[1200];
    size_t bad = 0;
    snprintf(path, sizeof path, "%s/answer.expected.npy", folder);
    Array right = read_npy(path), tolerance = {0};
    if (!strcmp(rule, "within")) {
        snprintf(path, sizeof path, "%s/answer.tolerance.npy", folder);
        tolerance = read_npy(path);
    }
    if (right.count != count) return count + 1;
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(rule, "bits"))
            bad += memcmp(&y[i], (float *)right.data + i, sizeof *y) != 0;
        else if (!strcmp(rule, "values"))
            bad += y[i] != ((float *)right.data)[i];
        else
            bad += !(fabs(y[i] - ((double *)right.data)[i]) <= ((double *)tolerance.data)[i]);
    }
    free(right.data);
    free(tolerance.data);
    return bad;
}

int main(int argc, char **argv) {
    static char line[1 << 16];
    char place[256], operation[64], rule[32], path[1024], folder[600];
    size_t right = 0, failed = 0, others = 0;
    if (argc != 2) fail("usage: vectors FOLDER", argv[0]);
    snprintf(path, sizeof path, "%s/index.txt", argv[1]);
    FILE *index = fopen(path, "r");
    if (!index) fail("it cannot be opened", path);
    while (fgets(line, sizeof line, index)) {
        const char *div = strstr(line, " fold_div=");
        if (sscanf(line, "%255s %63s %31s", place, operation, rule) != 3) fail("a bad line", path);
        int shifts = !strcmp(operation, "temporal_shift") && div;
        snprintf(folder, sizeof folder, "%.300s/cases/%.255s", argv[1], place);
        snprintf(path, sizeof path, "%s/x.npy", folder);
        if ((!shifts && strcmp(operation, "relu")) || !strcmp(rule, "refusal")) {
            others++;
            continue;
        }
        Array x = read_npy(path);
        if (strcmp(x.type, "<f4") || x.axes != 5) {
            others++;
        } else {
            float *y = shifts ? temporal_shift(&x, strtoul(div + 10, NULL, 10)) : relu(&x);
            size_t bad = y ? wrong(rule, y, folder, x.count) : x.count + 1;
            if (bad) printf("wrong: %s (%s): %lu values\n", place, operation, (unsigned long)bad);
            *(bad ? &failed : &right) += 1;
            free(y);
        }
        free(x.data);
    }
    fclose(index);
    printf("%lu right, %lu wrong, %lu not offered\n", (unsigned long)right, (unsigned long)failed,
           (unsigned long)others);
    return failed || !right;
}
