"""Writes TFLite files with TensorFlow's converter, and LiteRT's answers: for `test_real_tflite`.

``python write_with_tensorflow.py FOLDER [WORD]`` needs tensorflow and ai-edge-litert, nothing of
ours. Networks with WORD in their name are converted, some in every way that people do.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

T, SIDE, K = 4, 16, 5
KINDS = ("float32", "float16", "dynamic", "int8", "int8 inside", "uint8", "int16")
IN_EVERY_WAY = ("resnet roll", "mobilenet", "folded")
RULES = {"xnnpack": "AUTO", "reference": "BUILTIN_REF"}


def shifts() -> dict[str, Callable[[Any, int], Any]]:
    """A shift of an eighth of the channels to each side along axis 1, in every way to write it."""
    import tensorflow as tf

    def cut(x: Any, f: int) -> Any:
        return x[..., :f], x[..., f : 2 * f], x[..., 2 * f :]

    def roll(x: Any, f: int) -> Any:
        a, b, rest = cut(x, f)
        return tf.concat([tf.roll(a, -1, 1), tf.roll(b, 1, 1), rest], -1)

    def zeros(x: Any, f: int) -> Any:
        a, b, rest = cut(x, f)
        a = tf.concat([a[:, 1:], tf.zeros_like(a[:, :1])], 1)
        b = tf.concat([tf.zeros_like(b[:, :1]), b[:, :-1]], 1)
        return tf.concat([a, b, rest], -1)

    def pad(x: Any, f: int) -> Any:
        a, b, rest = cut(x, f)
        a = tf.pad(a[:, 1:], [[0, 0], [0, 1], [0, 0], [0, 0], [0, 0]])
        b = tf.pad(b[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0], [0, 0]])
        return tf.concat([a, b, rest], -1)

    def window(x: Any, f: int) -> Any:
        wide = tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0], [0, 0]])
        n = x.shape[1]
        parts = wide[:, 2:, ..., :f], wide[:, :n, ..., f : 2 * f], wide[:, 1:-1, ..., 2 * f :]
        return tf.concat(parts, -1)

    def split(x: Any, f: int) -> Any:
        a, b, rest = tf.split(x, [f, f, x.shape[-1] - 2 * f], -1)
        a = tf.concat([a[:, 1:], 0 * a[:, :1]], 1)
        b = tf.concat([0 * b[:, :1], b[:, :-1]], 1)
        return tf.concat([a, b, rest], -1)

    def gather(x: Any, f: int) -> Any:
        a, b, rest = cut(x, f)
        n = x.shape[1]
        a = tf.gather(a, [*range(1, n), n - 1], axis=1)
        b = tf.gather(b, [0, *range(n - 1)], axis=1)
        return tf.concat([a, b, rest], -1)

    def frames(x: Any, f: int) -> Any:
        steps = tf.unstack(x, axis=1)
        none = tf.zeros_like(steps[0])
        around = [none, *steps, none]
        moved = [
            tf.concat([after[..., :f], before[..., f : 2 * f], here[..., 2 * f :]], -1)
            for before, here, after in zip(around, steps, around[2:], strict=False)
        ]
        return tf.stack(moved, 1)

    def causal(x: Any, f: int) -> Any:
        past = tf.pad(x[:, :-1, ..., :f], [[0, 0], [1, 0], [0, 0], [0, 0], [0, 0]])
        return tf.concat([past, x[..., f:]], -1)

    made = (roll, zeros, pad, window, split, gather, frames, causal)
    return {each.__name__: each for each in made}


def networks() -> Iterator[tuple[str, Any]]:
    """Networks of every kind of block, layout and shift by name."""
    import tensorflow as tf

    layers = tf.keras.layers

    def shifted(how: str) -> Any:
        """A shift of rows of frames, or of clips of five axes."""

        def function(x: Any) -> Any:
            moved = shifts()[how]
            if len(x.shape) == 5:
                return moved(x, x.shape[-1] // 8)
            _, h, w, c = x.shape
            return tf.reshape(moved(tf.reshape(x, (-1, T, h, w, c)), c // 8), (-1, h, w, c))

        return layers.Lambda(function)

    def norm(x: Any, act: str = "") -> Any:
        x = layers.BatchNormalization()(x)
        return x if not act else layers.ReLU(6.0 if act == "relu6" else None)(x)

    def residual(x: Any, how: str, width: int, stride: int = 1) -> Any:
        y = norm(layers.Conv2D(width // 2, 1, use_bias=False)(shifted(how)(x)), "relu")
        y = norm(layers.Conv2D(width // 2, 3, stride, "same", use_bias=False)(y), "relu")
        y = norm(layers.Conv2D(width, 1, use_bias=False)(y))
        if stride > 1 or x.shape[-1] != width:
            x = norm(layers.Conv2D(width, 1, stride, use_bias=False)(x))
        return layers.ReLU()(layers.Add()([x, y]))

    def inverted(x: Any, how: str, width: int, stride: int = 1, act: str = "relu6") -> Any:
        same = stride == 1 and x.shape[-1] == width
        y = shifted(how)(x) if same else x
        y = norm(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(y), act)
        if stride > 1:
            y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
        padding = "valid" if stride > 1 else "same"
        y = norm(layers.DepthwiseConv2D(3, stride, padding, use_bias=False)(y), act)
        y = norm(layers.Conv2D(width, 1, use_bias=False)(y))
        return layers.Add()([x, y]) if same else y

    def squeezed(x: Any) -> Any:
        """Squeeze and excitation, and a hard swish, as MobileNetV3 has them."""
        g = layers.GlobalAveragePooling2D(keepdims=True)(x)
        g = layers.Conv2D(x.shape[-1] // 4, 1, activation="relu")(g)
        g = layers.Conv2D(x.shape[-1], 1)(g)
        g = layers.Lambda(lambda v: tf.nn.relu6(v + 3.0) / 6.0)(g)
        return layers.Lambda(lambda v: v * tf.nn.relu6(v + 3.0) / 6.0)(layers.Multiply()([x, g]))

    def stem(given: Any, width: int = 16) -> Any:
        x = layers.ZeroPadding2D(1)(given)
        return norm(layers.Conv2D(width, 3, 2, use_bias=False)(x), "relu")

    def classified(x: Any, end: str = "") -> Any:
        x = layers.Dense(K)(layers.GlobalAveragePooling2D()(x))
        x = layers.Lambda(lambda v: tf.reduce_mean(tf.reshape(v, (-1, T, K)), 1))(x)
        return layers.Softmax()(x) if end == "softmax" else x

    def resnet(how: str, rows: int | None = T, end: str = "") -> Any:
        given = layers.Input((SIDE, SIDE, 3), batch_size=rows)
        x = layers.MaxPooling2D(3, 2, "same")(stem(given))
        x = residual(residual(x, how, 32), how, 32, 2)
        return tf.keras.Model(given, classified(x, end))

    def mobilenet(how: str, rows: int | None = T, act: str = "relu6", se: bool = False) -> Any:
        given = layers.Input((SIDE, SIDE, 3), batch_size=rows)
        x = inverted(inverted(stem(given), how, 16, 1, act), how, 24, 2, act)
        x = inverted(x, how, 24, 1, act)
        return tf.keras.Model(given, classified(squeezed(x) if se else x))

    def folded(how: str, clips: int | None = 1) -> Any:
        """Clips of five axes, whose frames become the rows of a network."""
        given = layers.Input((T, SIDE, SIDE, 3), batch_size=clips)
        x = layers.Lambda(lambda v: tf.reshape(v, (-1, SIDE, SIDE, 3)))(given)
        return tf.keras.Model(given, classified(residual(stem(x), how, 32)))

    for how in shifts():
        yield f"resnet {how}", resnet(how)
    yield "mobilenet", mobilenet("zeros")
    yield "mobilenet causal", mobilenet("causal")
    yield "resnet softmax", resnet("zeros", T, "softmax")
    yield "resnet two clips", resnet("zeros", 2 * T)
    yield "resnet open", resnet("zeros", None)
    yield "mobilenet open", mobilenet("pad", None)
    yield "mobilenet plain relu", mobilenet("pad", T, "relu")
    yield "mobilenet squeezed", mobilenet("pad", T, "relu", True)
    yield "folded", folded("zeros")
    yield "folded open", folded("zeros", None)


def trained(model: Any, rng: Any) -> None:
    """Statistics and scales as a training leaves them."""
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        if type(inner).__name__ == "BatchNormalization":
            size = inner.gamma.shape
            inner.set_weights([
                rng.uniform(0.5, 1.5, size), rng.normal(0, 0.3, size),
                rng.normal(0, 0.3, size), rng.uniform(0.3, 1.5, size),
            ])  # fmt: skip


def converted(model: Any, clips: list[Any], kinds: Any) -> Iterator[tuple[str, bytes]]:
    """The bytes of a network in several precisions, by name."""
    import tensorflow as tf

    def calibration() -> Iterator[list[Any]]:
        return iter([[clip] for clip in clips])

    for kind in kinds:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if "int" in kind:
            converter.representative_dataset = calibration
            ops = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            if kind == "int16":
                ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            converter.target_spec.supported_ops = [ops]
            if "inside" not in kind:
                converter.inference_input_type = getattr(tf, kind)
                converter.inference_output_type = getattr(tf, kind)
        yield kind, converter.convert()


def refused() -> Iterator[tuple[str, bytes]]:
    """What no reader of built-in ops in one graph can carry out, by name."""
    import tensorflow as tf

    layers, shape = tf.keras.layers, (None, T, SIDE, SIDE, 3)
    given = layers.Input(shape[1:])
    rolled = tf.keras.Model(given, layers.Lambda(lambda v: tf.roll(v, 1, 1))(given))
    converter = tf.lite.TFLiteConverter.from_keras_model(rolled)
    kinds = tf.lite.OpsSet
    converter.target_spec.supported_ops = [kinds.TFLITE_BUILTINS, kinds.SELECT_TF_OPS]
    yield "custom", converter.convert()

    @tf.function(input_signature=[tf.TensorSpec((1, *shape[1:]), tf.float32)])
    def looped(x: Any) -> Any:
        return tf.while_loop(
            lambda i, v: tf.reduce_sum(v) < 99.0, lambda i, v: (i + 1, v + 1.0), (0, x)
        )[1]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([looped.get_concrete_function()])
    yield "subgraphs", converter.convert()


def answers(data: bytes, clip: Any) -> dict[str, Any]:
    """What LiteRT answers by each of its rules, as reals; whole numbers go in as they are."""
    from ai_edge_litert import interpreter as litert

    found = {}
    for rule, kind in RULES.items():
        runner = litert.Interpreter(
            model_content=data,
            experimental_op_resolver_type=getattr(litert.OpResolverType, kind),
        )
        given = runner.get_input_details()[0]
        if tuple(given["shape"]) != clip.shape:
            runner.resize_tensor_input(given["index"], clip.shape)
        runner.allocate_tensors()
        runner.set_tensor(given["index"], in_steps(clip, given))
        runner.invoke()
        end = runner.get_output_details()[0]
        values = runner.get_tensor(end["index"])
        scale, zero = end["quantization"]
        found[rule] = (values.astype(np.int64) - zero) * np.float32(scale) if scale else values
        found["step"] = np.float32(scale)
    return found


def in_steps(clip: Any, given: Any) -> Any:
    """A clip in the type of an input."""
    if given["dtype"] == np.float32:
        return clip
    scale, zero = given["quantization"]
    info = np.iinfo(given["dtype"])
    whole = np.rint(clip / np.float32(scale)) + zero
    return np.clip(whole, info.min, info.max).astype(given["dtype"])


def main(folder: str, word: str = "") -> None:
    """Write every network in every precision, a clip, and the answers to it."""
    import tensorflow as tf

    for name, data in refused():
        (Path(folder) / f"refused, {name}.tflite").write_bytes(data)
    for name, model in networks():
        if word not in name:
            continue
        rng = np.random.default_rng(0)
        tf.keras.utils.set_random_seed(3)
        trained(model, rng)
        shape = model.inputs[0].shape
        rows = shape[0] or (2 if len(shape) == 5 else 2 * T)
        clips = [rng.normal(size=(rows, *shape[1:])).astype(np.float32) for _ in range(4)]
        real = np.asarray(model(clips[0], training=False))
        kinds = KINDS if name in IN_EVERY_WAY else ("float32", "int8")
        for kind, data in converted(model, clips, kinds):
            path = Path(folder) / f"{name}, {kind}.tflite"
            path.write_bytes(data)
            np.savez(path.with_suffix(".npz"), clip=clips[0], real=real, **answers(data, clips[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
