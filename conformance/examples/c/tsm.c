/* A testee in C: the temporal shift and the single layers of a TSM network, nothing but the C
 * library. Reads one JSON message per line, answers with one, and reads and writes arrays as .npy.
 *
 *     cc -O2 -o tsm tsm.c -lm && tsm-conformance run --testee cmd:./tsm --level L1,R
 *
 * Three parts: JSON, .npy files, and the operations. A clip is (N, C, T, H, W) in C order.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf refused; /* where an invalid input leads */
static char reason[256], kind[32];

static void refuse(const char *what, const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    vsnprintf(reason, sizeof reason, format, rest);
    va_end(rest);
    snprintf(kind, sizeof kind, "%s", what);
    longjmp(refused, 1);
}

/* Everything that one message needs is allocated here and freed before the next. */
static void *blocks[4096];
static int block_count;

static void *take(size_t bytes) {
    if (block_count == 4096) refuse("failed", "too many pieces in one message");
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) refuse("failed", "out of memory");
    return blocks[block_count++] = p;
}

static void free_all(void) {
    while (block_count) free(blocks[--block_count]);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

typedef struct Json {
    char *key, *text;          /* the name in an object; a string */
    double number;             /* numbers, true = 1, false and null = 0 */
    struct Json *first, *next; /* members of an object or array */
    int count;
} Json;

static char *at; /* the next character to be read */

static char *json_string(void) {
    char *out = take(strlen(at) + 1), *w = out;
    for (at++; *at && *at != '"'; at++) {
        if (*at == '\\' && at[1]) at++;
        *w++ = *at;
    }
    if (*at == '"') at++;
    return out;
}

static Json *json_value(void) {
    Json *v = take(sizeof *v), **tail = &v->first;
    while (*at == ' ') at++;
    if (*at == '"') {
        v->text = json_string();
    } else if (*at == '{' || *at == '[') {
        char end = *at++ == '{' ? '}' : ']';
        while (*at && *at != end) {
            char *key = NULL;
            while (*at == ' ' || *at == ',') at++;
            if (*at == end) break;
            if (end == '}') {
                key = json_string();
                while (*at == ' ' || *at == ':') at++;
            }
            *tail = json_value();
            (*tail)->key = key;
            tail = &(*tail)->next;
            v->count++;
        }
        if (*at) at++;
    } else if (strchr("tfn", *at)) {
        v->number = *at == 't';
        while (*at && strchr("truefalsn", *at)) at++;
    } else {
        char *before = at;
        v->number = strtod(at, &at);
        if (at == before) refuse("failed", "a message that is no JSON");
    }
    return v;
}

static Json *member(Json *object, const char *key) {
    for (Json *m = object ? object->first : NULL; m; m = m->next)
        if (m->key && !strcmp(m->key, key)) return m;
    return NULL;
}

static double number(Json *object, const char *key, double otherwise) {
    Json *m = member(object, key);
    return m ? m->number : otherwise;
}

static void three(Json *object, const char *key, long otherwise, long out[3]) {
    Json *m = member(object, key), *e = m ? m->first : NULL;
    for (int i = 0; i < 3; i++, e = e ? e->next : NULL)
        out[i] = e ? (long)e->number : m && !m->first ? (long)m->number : otherwise;
}

/* ---- .npy ------------------------------------------------------------------------------------ */

typedef struct {
    int rank, bytes; /* bytes of one element */
    long size[8], count;
    char type[8]; /* as NumPy writes it: <f4 */
    void *data;
    float *f; /* the data, if it is float32 */
} Array;

static Array *array(const char *type, int bytes, int rank, const long *size) {
    Array *a = take(sizeof *a);
    a->rank = rank;
    a->bytes = bytes;
    a->count = 1;
    snprintf(a->type, sizeof a->type, "%s", type);
    for (int i = 0; i < rank; i++) a->count *= a->size[i] = size[i];
    a->data = take((size_t)a->count * (size_t)bytes);
    a->f = strcmp(type, "<f4") ? NULL : a->data;
    return a;
}

static Array *like(const Array *x) { return array(x->type, x->bytes, x->rank, x->size); }

static Array *floats(int rank, long a, long b, long c, long d, long e) {
    long size[5] = {a, b, c, d, e};
    return array("<f4", 4, rank, size);
}

static Array *read_npy(const char *path) {
    FILE *file = fopen(path, "rb");
    unsigned char head[10];
    char header[1024] = {0}, *p;
    long size[8];
    int rank = 0;
    if (!file || fread(head, 1, 10, file) != 10) refuse("failed", "cannot read %s", path);
    size_t length = head[8] + 256u * head[9];
    if (length >= sizeof header || fread(header, 1, length, file) != length)
        refuse("failed", "%s has no npy header", path);
    char *type = strstr(header, "'descr': '") + 10;
    char name[8] = {0};
    for (int i = 0; i < 7 && type[i] != '\''; i++) name[i] = type[i];
    for (p = strstr(header, "'shape': (") + 10; *p != ')' && rank < 8; p += *p == ',' || *p == ' ')
        if (*p >= '0' && *p <= '9') size[rank++] = strtol(p, &p, 10);
    Array *a = array(name, atoi(name + 2), rank, size);
    if (fread(a->data, (size_t)a->bytes, (size_t)a->count, file) != (size_t)a->count)
        refuse("failed", "%s is too short", path);
    fclose(file);
    return a;
}

static void write_npy(const char *path, const Array *a) {
    char header[256], shape[160] = "";
    for (int i = 0; i < a->rank; i++)
        snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%ld,", a->size[i]);
    int n = snprintf(header, sizeof header,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", a->type, shape);
    while ((n + 11) % 64) header[n++] = ' ';
    header[n++] = '\n';
    FILE *file = fopen(path, "wb");
    if (!file) refuse("failed", "cannot write %s", path);
    fwrite("\x93NUMPY\x01\x00", 1, 8, file);
    fputc(n & 255, file);
    fputc(n >> 8, file);
    fwrite(header, 1, (size_t)n, file);
    fwrite(a->data, (size_t)a->bytes, (size_t)a->count, file);
    fclose(file);
}

/* ---- what a call gives ----------------------------------------------------------------------- */

static Json *attributes, *inputs;
static const char *folder;

static Array *input(const char *name) {
    Json *m = member(inputs, name);
    char path[4096];
    if (!m) return NULL;
    snprintf(path, sizeof path, "%s/%s", folder, m->text);
    return read_npy(path);
}

static Array *needed(const char *name, int rank) {
    Array *a = input(name);
    if (!a) refuse("invalid", "the input %s is missing", name);
    if (!a->f) refuse("invalid", "%s is %s; <f4 is needed", name, a->type);
    if (rank && a->rank != rank) refuse("invalid", "%s has %d axes; %d are needed", name, a->rank, rank);
    return a;
}

/* ---- the temporal shift: out[n, c, t] = x[n, c, t - d[c]] ------------------------------------ */

static long *mit_folds(long channels, long fold_div) {
    long *d = take((size_t)channels * sizeof *d);
    if (fold_div < 1) refuse("invalid", "fold_div (=%ld) must be 1 or more", fold_div);
    for (long c = 0, f = channels / fold_div; c < channels; c++) d[c] = c < f ? -1 : c < 2 * f ? 1 : 0;
    return d;
}

static Array *shift(const Array *x, const long *d, const char *fill) {
    if (x->rank < 3) refuse("invalid", "x has %d axes; (N, C, T, ...) is needed", x->rank);
    Array *y = like(x);
    if (!x->count) return y;
    long C = x->size[1], T = x->size[2];
    size_t frame = (size_t)(x->count / (x->size[0] * C * T)) * (size_t)x->bytes;
    for (long n = 0; n < x->size[0]; n++)
        for (long c = 0; c < C; c++)
            for (long t = 0; t < T; t++) {
                long from = t - d[c], row = (n * C + c) * T;
                if (!strcmp(fill, "circular")) from = ((from % T) + T) % T;
                if (!strcmp(fill, "replicate")) from = from < 0 ? 0 : from >= T ? T - 1 : from;
                if (from >= 0 && from < T)
                    memcpy((char *)y->data + (size_t)(row + t) * frame,
                           (char *)x->data + (size_t)(row + from) * frame, frame);
            }
    return y;
}

static Array *any_clip(const char *name) {
    Array *x = input(name);
    if (!x || x->rank < 3) refuse("invalid", "%s must be a clip (N, C, T, ...)", name);
    return x;
}

static Array *temporal_shift(void) {
    Array *x = any_clip("x");
    return shift(x, mit_folds(x->size[1], (long)number(attributes, "fold_div", 8)), "zero");
}

static Array *temporal_shift_adjoint(void) {
    Array *y = any_clip("y");
    long *d = mit_folds(y->size[1], (long)number(attributes, "fold_div", 8));
    for (long c = 0; c < y->size[1]; c++) d[c] = -d[c];
    return shift(y, d, "zero");
}

static Array *shift_by(void) {
    Array *x = any_clip("x");
    Json *given = member(attributes, "d"), *fill = member(attributes, "fill");
    long *d = take((size_t)x->size[1] * sizeof *d), c = 0;
    if (!given || given->count != x->size[1])
        refuse("invalid", "d must have one entry per channel (%ld)", x->size[1]);
    for (Json *e = given->first; e; e = e->next) d[c++] = (long)e->number;
    const char *how = fill && fill->text ? fill->text : "zero";
    if (strcmp(how, "zero") && strcmp(how, "replicate") && strcmp(how, "circular"))
        refuse("invalid", "fill (=%s) must be zero, replicate or circular", how);
    return shift(x, d, how);
}

/* ---- convolution and pooling: windows over (T, H, W) ----------------------------------------- */

typedef struct {
    long k[3], s[3], p[3], d[3], out[3];
} Window;

static Window window(const Array *x, const long *kernel, int ceil_mode, long default_stride) {
    Window w;
    three(attributes, "stride", default_stride, w.s);
    three(attributes, "padding", 0, w.p);
    three(attributes, "dilation", 1, w.d);
    for (int i = 0; i < 3; i++) {
        w.k[i] = kernel[i];
        long n = x->size[2 + i], room = n + 2 * w.p[i] - (w.d[i] * (w.k[i] - 1) + 1);
        if (room < 0) refuse("invalid", "the kernel of %ld does not fit into %ld", w.k[i], n);
        w.out[i] = (ceil_mode ? (room + w.s[i] - 1) / w.s[i] : room / w.s[i]) + 1;
        if (ceil_mode && (w.out[i] - 1) * w.s[i] >= n + w.p[i]) w.out[i]--;
    }
    return w;
}

/* The place in a plane (T, H, W) that tap k of output o reads, or -1 in the padding. */
static long place(const Array *x, const Window *w, const long o[3], const long k[3]) {
    long at = 0;
    for (int i = 0; i < 3; i++) {
        long v = o[i] * w->s[i] + k[i] * w->d[i] - w->p[i];
        if (v < 0 || v >= x->size[2 + i]) return -1;
        at = at * x->size[2 + i] + v;
    }
    return at;
}

#define EACH(v, end) \
    for (v[0] = 0; v[0] < (end)[0]; v[0]++) \
        for (v[1] = 0; v[1] < (end)[1]; v[1]++) \
            for (v[2] = 0; v[2] < (end)[2]; v[2]++)

static Array *conv(void) {
    Array *x = needed("x", 5), *weight = needed("weight", 5), *bias = input("bias");
    long groups = (long)number(attributes, "groups", 1), C = x->size[1], O = weight->size[0];
    if (groups < 1 || C % groups || O % groups)
        refuse("invalid", "groups (=%ld) must divide %ld and %ld channels", groups, C, O);
    long width = C / groups, plane = x->size[2] * x->size[3] * x->size[4], i = 0;
    if (weight->size[1] != width)
        refuse("invalid", "the weight reads %ld channels of %ld", weight->size[1], width);
    Window w = window(x, weight->size + 2, 0, 1);
    long taps = w.k[0] * w.k[1] * w.k[2];
    Array *y = floats(5, x->size[0], O, w.out[0], w.out[1], w.out[2]);
    for (long n = 0; n < x->size[0]; n++)
        for (long c = 0; c < O; c++) {
            const float *from = x->f + (n * C + c / (O / groups) * width) * plane;
            long o[3], k[3];
            EACH(o, w.out) {
                float sum = 0;
                const float *tap = weight->f + c * width * taps;
                for (long g = 0; g < width; g++)
                    EACH(k, w.k) {
                        long p = place(x, &w, o, k);
                        sum += p < 0 ? 0 : *tap * from[g * plane + p];
                        tap++;
                    }
                y->f[i++] = bias ? sum + bias->f[c] : sum;
            }
        }
    return y;
}

static Array *pool(int average) {
    Array *x = needed("x", 5);
    long kernel[3], plane = x->size[2] * x->size[3] * x->size[4], i = 0;
    three(attributes, "kernel", 1, kernel);
    int padded = (int)number(attributes, "count_include_pad", 1);
    Window w = window(x, kernel, (int)number(attributes, "ceil_mode", 0), 1);
    Array *y = floats(5, x->size[0], x->size[1], w.out[0], w.out[1], w.out[2]);
    for (long nc = 0; nc < x->size[0] * x->size[1]; nc++) {
        long o[3], k[3];
        EACH(o, w.out) {
            float best = -INFINITY, sum = 0;
            long inside = 0, counted = 1;
            EACH(k, w.k) {
                long p = place(x, &w, o, k);
                if (p < 0) continue;
                float v = x->f[nc * plane + p];
                best = v > best || isnan(v) ? v : best;
                sum += v;
                inside++;
            }
            for (int a = 0; a < 3; a++) { /* an overhang beyond the padding is never counted */
                long from = o[a] * w.s[a] - w.p[a], to = from + w.k[a], end = x->size[2 + a] + w.p[a];
                counted *= (to < end ? to : end) - from;
            }
            y->f[i++] = average ? sum / (float)(padded ? counted : inside) : best;
        }
    }
    return y;
}

static Array *max_pool(void) { return pool(0); }
static Array *avg_pool(void) { return pool(1); }

static Array *global_avg_pool(void) {
    Array *x = needed("x", 5);
    long picture = x->size[3] * x->size[4];
    Array *y = floats(3, x->size[0], x->size[1], x->size[2], 0, 0);
    for (long i = 0; i < y->count; i++) {
        float sum = 0;
        for (long p = 0; p < picture; p++) sum += x->f[i * picture + p];
        y->f[i] = sum / (float)picture;
    }
    return y;
}

/* ---- the other layers ------------------------------------------------------------------------ */

static Array *batch_norm(void) {
    Array *x = needed("x", 0), *m = needed("mean", 1), *v = needed("variance", 1);
    Array *scale = needed("scale", 1), *add = needed("shift", 1), *y = like(x);
    if (!x->count) return y;
    long C = x->size[1], behind = x->count / (x->size[0] * C);
    if (m->count != C || v->count != C || scale->count != C || add->count != C)
        refuse("invalid", "the statistics must have %ld channels", C);
    float eps = (float)number(attributes, "eps", 1e-5);
    for (long i = 0; i < x->count; i++) {
        long c = i / behind % C;
        y->f[i] = (x->f[i] - m->f[c]) / sqrtf(v->f[c] + eps) * scale->f[c] + add->f[c];
    }
    return y;
}

static Array *each(float (*function)(float)) {
    Array *x = needed("x", 0), *y = like(x);
    for (long i = 0; i < x->count; i++) y->f[i] = function(x->f[i]);
    return y;
}

static float relu_of(float v) { return v > 0 ? v : 0; }
static float relu6_of(float v) { return v > 6 ? 6 : relu_of(v); }
static float leaky_of(float v) { return v > 0 ? v : v * (float)number(attributes, "slope", 0.01); }
static float hard_of(float v) { return fminf(fmaxf(v / 6 + 0.5f, 0), 1); }
static float swish_of(float v) { return v * hard_of(v); }
static float sigmoid_of(float v) {
    float e = expf(-fabsf(v));
    return (v < 0 ? e : 1) / (1 + e);
}
static Array *relu(void) { return each(relu_of); }
static Array *relu6(void) { return each(relu6_of); }
static Array *leaky_relu(void) { return each(leaky_of); }
static Array *hard_sigmoid(void) { return each(hard_of); }
static Array *hard_swish(void) { return each(swish_of); }
static Array *sigmoid(void) { return each(sigmoid_of); }
static Array *tanh_layer(void) { return each(tanhf); }

static Array *linear(void) {
    Array *x = needed("x", 3), *weight = needed("weight", 2), *bias = input("bias");
    long N = x->size[0], C = x->size[1], T = x->size[2], K = weight->size[0], i = 0;
    if (weight->size[1] != C) refuse("invalid", "the weight reads %ld channels of %ld", weight->size[1], C);
    Array *y = floats(3, N, K, T, 0, 0);
    for (long n = 0; n < N; n++)
        for (long k = 0; k < K; k++)
            for (long t = 0; t < T; t++) {
                float sum = 0;
                for (long c = 0; c < C; c++) sum += weight->f[k * C + c] * x->f[(n * C + c) * T + t];
                y->f[i++] = bias ? sum + bias->f[k] : sum;
            }
    return y;
}

static Array *softmax(void) { /* over the classes, axis 1 */
    Array *x = needed("x", 0), *y = like(x);
    if (!x->count) return y;
    long K = x->size[1], behind = x->count / (x->size[0] * K);
    if ((long)number(attributes, "axis", 1) != 1) refuse("unsupported", "only axis 1 is offered");
    for (long n = 0; n < x->size[0]; n++)
        for (long p = 0; p < behind; p++) {
            const float *from = x->f + n * K * behind + p;
            float *to = y->f + n * K * behind + p, most = -INFINITY, sum = 0;
            for (long k = 0; k < K; k++) most = fmaxf(most, from[k * behind]);
            for (long k = 0; k < K; k++) sum += to[k * behind] = expf(from[k * behind] - most);
            for (long k = 0; k < K; k++) to[k * behind] /= sum;
        }
    return y;
}

static Array *consensus(void) {
    Array *x = needed("logits", 3), *y = floats(2, x->size[0], x->size[1], 0, 0, 0);
    for (long i = 0; i < y->count; i++) {
        for (long t = 0; t < x->size[2]; t++) y->f[i] += x->f[i * x->size[2] + t];
        y->f[i] /= (float)x->size[2];
    }
    return y;
}

static Array *attention_mask(void) {
    Array *m = needed("m", 5), *y = like(m);
    long picture = m->size[3] * m->size[4];
    for (long i = 0; i < m->count; i += picture) {
        float sum = 0;
        for (long p = 0; p < picture; p++) sum += m->f[i + p];
        for (long p = 0; p < picture; p++) y->f[i + p] = 0.5f * m->f[i + p] / (sum / (float)picture);
    }
    return y;
}

static const struct {
    const char *name;
    Array *(*run)(void);
} operations[] = {
    {"temporal_shift", temporal_shift}, {"temporal_shift_adjoint", temporal_shift_adjoint},
    {"shift_by", shift_by}, {"conv", conv}, {"max_pool", max_pool}, {"avg_pool", avg_pool},
    {"global_avg_pool", global_avg_pool}, {"batch_norm", batch_norm}, {"relu", relu},
    {"relu6", relu6}, {"leaky_relu", leaky_relu}, {"hard_sigmoid", hard_sigmoid},
    {"hard_swish", hard_swish}, {"sigmoid", sigmoid}, {"tanh", tanh_layer}, {"linear", linear},
    {"softmax", softmax}, {"consensus", consensus}, {"attention_mask", attention_mask},
};

static Array *answer(const char *operation) {
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (!strcmp(operations[i].name, operation)) return operations[i].run();
    refuse("unsupported", "there is no %s", operation);
    return NULL;
}

/* ---- the conversation ------------------------------------------------------------------------ */

int main(void) {
    static char line[1 << 20], where[4096], path[8192];
    while (fgets(line, sizeof line, stdin)) {
        volatile int id = 0;
        if (setjmp(refused)) {
            printf("{\"id\": %d, \"error\": {\"kind\": \"%s\", \"message\": \"%s\"}}\n", id, kind, reason);
        } else {
            at = line;
            Json *message = json_value(), *op = member(message, "op");
            if (!op || !op->text || !strcmp(op->text, "stop")) break;
            if (!strcmp(op->text, "start")) {
                snprintf(where, sizeof where, "%s", member(message, "folder")->text);
                folder = where;
                puts("{\"name\": \"tsm.c\", \"version\": \"1\", \"language\": \"C\", \"profile\": \"mit\","
                     " \"capabilities\": {\"dtypes\": [\"float16\", \"float32\", \"float64\"],"
                     " \"streaming\": false}}");
            } else {
                id = (int)number(message, "id", 0);
                attributes = member(message, "attributes");
                inputs = member(message, "inputs");
                Array *y = answer(member(message, "operation")->text);
                snprintf(path, sizeof path, "%s/%s/y.npy", folder, member(message, "outputs")->text);
                write_npy(path, y);
                printf("{\"id\": %d, \"outputs\": {\"y\": \"y.npy\"}}\n", id);
            }
        }
        fflush(stdout);
        free_all();
    }
    free_all();
    return 0;
}
