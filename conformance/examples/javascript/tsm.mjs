// A testee in JavaScript: the temporal shift, the single layers, and the stream of a shift, with
// nothing but Node. Reads one JSON message per line and answers with one; arrays are .npy files.
//
//     tsm-conformance run --testee "cmd:node tsm.mjs" --level L1
//
// A clip is { shape: [N, C, T, H, W], data: a typed array in C order }.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

class Refusal extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}
const need = (condition, message) => {
  if (!condition) throw new Refusal("invalid", message);
};
const product = (sizes) => sizes.reduce((a, b) => a * b, 1);

// ---- .npy ---------------------------------------------------------------------------------------

// float16 has no typed array everywhere, and a shift needs only its bits.
const TYPES = { "<f2": Uint16Array, "<f4": Float32Array, "<f8": Float64Array, "<i8": BigInt64Array };

function readNpy(path) {
  const bytes = readFileSync(path);
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, start);
  const type = /'descr': '([^']+)'/.exec(header)[1];
  const shape = (/'shape': \(([^)]*)\)/.exec(header)[1].match(/\d+/g) ?? []).map(Number);
  need(TYPES[type], `${type} is not known; <f4 is needed`);
  const buffer = bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length);
  return { type, shape, data: new TYPES[type](buffer) };
}

function writeNpy(path, { type = "<f4", shape, data }) {
  const sizes = shape.map((n) => `${n},`).join("");
  let header = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  header += " ".repeat((64 - ((header.length + 11) % 64)) % 64) + "\n";
  const head = Buffer.alloc(10);
  head.write("\x93NUMPY\x01\x00", "latin1");
  head.writeUInt16LE(header.length, 8);
  const body = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  writeFileSync(path, Buffer.concat([head, Buffer.from(header, "latin1"), body]));
}

const make = (shape) => ({ shape, data: new Float32Array(product(shape)) });
const like = (x) => ({ ...x, data: new x.data.constructor(x.data.length) });

// ---- the temporal shift: out[n, c, t] = x[n, c, t - d[c]] ---------------------------------------

function mitFolds(channels, foldDiv) {
  need(foldDiv >= 1, `fold_div (=${foldDiv}) must be 1 or more`);
  const fold = Math.floor(channels / foldDiv);
  return Array.from({ length: channels }, (_, c) => (c < fold ? -1 : c < 2 * fold ? 1 : 0));
}

const onlineFolds = (channels, foldDiv) => mitFolds(channels, foldDiv).map((d) => (d < 0 ? 1 : 0));

const FILLS = {
  zero: (t) => t,
  replicate: (t, T) => Math.min(Math.max(t, 0), T - 1),
  circular: (t, T) => ((t % T) + T) % T,
};

function shift(x, d, fill = "zero") {
  need(x.shape.length >= 3, `a clip is (N, C, T, ...), not ${x.shape}`);
  need(d.length === x.shape[1], `${d.length} shifts for ${x.shape[1]} channels`);
  need(fill in FILLS, `fill (=${fill}) must be zero, replicate or circular`);
  const [N, C, T, ...behind] = x.shape;
  const frame = product(behind);
  const y = like(x);
  for (let row = 0; row < N * C; row++) {
    for (let t = 0; t < T; t++) {
      const from = FILLS[fill](t - d[row % C], T);
      if (from < 0 || from >= T) continue;
      const begin = (row * T + from) * frame;
      y.data.set(x.data.subarray(begin, begin + frame), (row * T + t) * frame);
    }
  }
  return y;
}

// ---- convolution and pooling: windows over (T, H, W) --------------------------------------------

function windows(x, kernel, { stride = 1, padding = 0, dilation = 1, ceil_mode = false }) {
  const three = (value) => (Array.isArray(value) ? value : [value, value, value]);
  const [s, p, d] = [three(stride), three(padding), three(dilation)];
  const size = x.shape.slice(2);
  const out = size.map((n, i) => {
    const room = n + 2 * p[i] - (d[i] * (kernel[i] - 1) + 1);
    need(room >= 0, `a kernel of ${kernel[i]} does not fit into ${n}`);
    let count = (ceil_mode ? Math.ceil(room / s[i]) : Math.floor(room / s[i])) + 1;
    if (ceil_mode && (count - 1) * s[i] >= n + p[i]) count--;
    return count;
  });
  return { size, kernel, s, p, d, out };
}

function* places([a, b, c]) {
  for (let i = 0; i < a; i++) for (let j = 0; j < b; j++) for (let k = 0; k < c; k++) yield [i, j, k];
}

// Where tap k of output o reads in a plane (T, H, W); -1 in the padding.
function source({ size, s, p, d }, o, k) {
  let at = 0;
  for (let i = 0; i < 3; i++) {
    const v = o[i] * s[i] + k[i] * d[i] - p[i];
    if (v < 0 || v >= size[i]) return -1;
    at = at * size[i] + v;
  }
  return at;
}

function conv({ x, weight, bias }, attributes) {
  const { groups = 1 } = attributes;
  const [N, C] = x.shape;
  const [O, width, ...kernel] = weight.shape;
  need(C % groups === 0 && O % groups === 0, `groups (=${groups}) must divide ${C} and ${O}`);
  need(width * groups === C, `the weight reads ${width} of ${C / groups} channels`);
  const w = windows(x, kernel, attributes);
  const plane = product(w.size);
  const taps = [...places(kernel)];
  const y = make([N, O, ...w.out]);
  let i = 0;
  for (let n = 0; n < N; n++) {
    for (let o = 0; o < O; o++) {
      const first = n * C + Math.floor(o / (O / groups)) * width;
      for (const at of places(w.out)) {
        const reads = taps.map((k) => source(w, at, k));
        let sum = 0;
        for (let c = 0; c < width; c++) {
          for (let k = 0; k < taps.length; k++) {
            if (reads[k] < 0) continue;
            const tap = weight.data[(o * width + c) * taps.length + k];
            sum += tap * x.data[(first + c) * plane + reads[k]];
          }
        }
        y.data[i++] = sum + (bias?.data[o] ?? 0);
      }
    }
  }
  return y;
}

function pool({ x }, attributes, average) {
  const { kernel, count_include_pad = true } = attributes;
  const w = windows(x, kernel, attributes);
  const plane = product(w.size);
  const taps = [...places(kernel)];
  const y = make([x.shape[0], x.shape[1], ...w.out]);
  let i = 0;
  for (let row = 0; row < x.shape[0] * x.shape[1]; row++) {
    for (const o of places(w.out)) {
      const reads = taps.map((k) => source(w, o, k)).filter((at) => at >= 0);
      const values = reads.map((at) => x.data[row * plane + at]);
      // What overhangs the padding is never counted.
      const counted = product(
        w.size.map((n, a) => {
          const from = o[a] * w.s[a] - w.p[a];
          return Math.min(from + kernel[a], n + w.p[a]) - from;
        }),
      );
      const sum = values.reduce((a, b) => a + b, 0);
      y.data[i++] = average ? sum / (count_include_pad ? counted : values.length) : Math.max(...values);
    }
  }
  return y;
}

// The mean over the last axes, in runs of `length`.
const means = (x, length) =>
  Float32Array.from({ length: x.data.length / length }, (_, i) => {
    let sum = 0;
    for (let p = 0; p < length; p++) sum += x.data[i * length + p];
    return sum / length;
  });

// ---- the other layers ---------------------------------------------------------------------------

const each = (x, f) => ({ ...x, data: x.data.map(f) });
const hard = (v) => Math.min(Math.max(v / 6 + 0.5, 0), 1);

function batchNorm({ x, mean, variance, scale, shift: add }, { eps = 1e-5 }) {
  const C = x.shape[1];
  need([mean, variance, scale, add].every((v) => v.data.length === C), `${C} statistics are needed`);
  const behind = product(x.shape.slice(2));
  return each(x, (v, i) => {
    const c = Math.floor(i / behind) % C;
    const unit = (v - mean.data[c]) / Math.sqrt(variance.data[c] + eps);
    return unit * scale.data[c] + add.data[c];
  });
}

function linear({ x, weight, bias }) {
  const [N, C, T] = x.shape;
  const K = weight.shape[0];
  need(weight.shape[1] === C, `the weight reads ${weight.shape[1]} of ${C} channels`);
  const y = make([N, K, T]);
  for (let i = 0; i < y.data.length; i++) {
    const [n, k, t] = [Math.floor(i / (K * T)), Math.floor(i / T) % K, i % T];
    let sum = bias?.data[k] ?? 0;
    for (let c = 0; c < C; c++) sum += weight.data[k * C + c] * x.data[(n * C + c) * T + t];
    y.data[i] = sum;
  }
  return y;
}

function softmax({ x }, { axis = 1 }) {
  if (axis !== 1) throw new Refusal("unsupported", "only axis 1 is offered");
  const K = x.shape[1];
  const behind = product(x.shape.slice(2));
  const y = like(x);
  for (let p = 0; p < x.data.length / K; p++) {
    const at = (k) => (Math.floor(p / behind) * K + k) * behind + (p % behind);
    const classes = Array.from({ length: K }, (_, k) => x.data[at(k)]);
    const most = Math.max(...classes);
    const e = classes.map((v) => Math.exp(v - most));
    const sum = e.reduce((a, b) => a + b, 0);
    e.forEach((v, k) => (y.data[at(k)] = v / sum));
  }
  return y;
}

// ---- a stream of the shift: the frame before, for the channels that look back -------------------

function* frames(clips, index, start, stop) {
  const [, N, C, T, ...behind] = clips.shape;
  const frame = product(behind);
  for (let t = start; t < stop; t++) {
    const one = { ...clips, shape: [N, C, 1, ...behind], data: new Float32Array(N * C * frame) };
    for (let row = 0; row < N * C; row++) {
      const at = ((index * N * C + row) * T + t) * frame;
      one.data.set(clips.data.subarray(at, at + frame), row * frame);
    }
    yield one;
  }
}

function stream({ clips }, { script, subject, fold_div }) {
  if (subject !== "temporal_shift") throw new Refusal("unsupported", "only the shift is streamed");
  const [, N, C, , ...behind] = clips.shape;
  const frame = product(behind);
  const d = onlineFolds(C, fold_div);
  const caches = new Map();
  const slots = new Map();
  const made = [];
  for (const [action, number, ...rest] of script) {
    if (action === "reset") caches.delete(number);
    else if (action === "save") slots.set(rest[0], caches.get(number));
    else if (action === "load") caches.set(number, slots.get(rest[0]));
    else {
      for (const now of frames(clips, ...rest)) {
        const before = caches.get(number) ?? new Float32Array(now.data.length);
        made.push(now.data.map((v, i) => (d[Math.floor(i / frame) % C] ? before[i] : v)));
        caches.set(number, now.data);
      }
    }
  }
  const y = make([N, C, made.length, ...behind]);
  made.forEach((out, t) => {
    for (let row = 0; row < N * C; row++) {
      y.data.set(out.subarray(row * frame, (row + 1) * frame), (row * made.length + t) * frame);
    }
  });
  return y;
}

const operations = {
  temporal_shift: ({ x }, { fold_div }) => shift(x, mitFolds(x.shape[1], fold_div)),
  temporal_shift_adjoint: ({ y }, { fold_div }) => shift(y, mitFolds(y.shape[1], fold_div).map((d) => -d)),
  shift_by: ({ x }, { d, fill }) => shift(x, d, fill),
  conv,
  batch_norm: batchNorm,
  relu: ({ x }) => each(x, (v) => Math.max(v, 0)),
  relu6: ({ x }) => each(x, (v) => Math.min(Math.max(v, 0), 6)),
  leaky_relu: ({ x }, { slope }) => each(x, (v) => (v > 0 ? v : slope * v)),
  hard_sigmoid: ({ x }) => each(x, hard),
  hard_swish: ({ x }) => each(x, (v) => v * hard(v)),
  sigmoid: ({ x }) => each(x, (v) => 1 / (1 + Math.exp(-v))),
  tanh: ({ x }) => each(x, Math.tanh),
  softmax,
  max_pool: (inputs, attributes) => pool(inputs, attributes, false),
  avg_pool: (inputs, attributes) => pool(inputs, attributes, true),
  global_avg_pool: ({ x }) => ({ shape: x.shape.slice(0, 3), data: means(x, product(x.shape.slice(3))) }),
  linear,
  consensus: ({ logits }) => {
    need(logits.shape.length === 3, `logits are (N, K, T), not ${logits.shape}`);
    return { shape: logits.shape.slice(0, 2), data: means(logits, logits.shape[2]) };
  },
  attention_mask: ({ m }) => {
    const picture = product(m.shape.slice(-2));
    const mean = means(m, picture);
    return each(m, (v, i) => (0.5 * v) / mean[Math.floor(i / picture)]);
  },
  stream,
};

// ---- the conversation ---------------------------------------------------------------------------

function answer(folder, { id, operation, attributes, inputs, outputs }) {
  try {
    if (!(operation in operations)) throw new Refusal("unsupported", `there is no ${operation}`);
    const arrays = Object.fromEntries(
      Object.entries(inputs).map(([name, file]) => [name, readNpy(join(folder, file))]),
    );
    writeNpy(join(folder, outputs, "y.npy"), operations[operation](arrays, attributes));
    return { id, outputs: { y: "y.npy" } };
  } catch (error) {
    return { id, error: { kind: error.kind ?? "failed", message: String(error.message) } };
  }
}

let folder = "";
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.op === "stop") break;
  let reply;
  if (message.op === "start") {
    folder = message.folder;
    const capabilities = { dtypes: ["float16", "float32", "float64"] };
    reply = { name: "tsm.mjs", version: "1", language: "JavaScript", profile: "mit", capabilities };
  } else {
    reply = answer(folder, message);
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
