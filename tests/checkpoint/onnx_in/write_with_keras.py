"""Writes ONNX files with Keras and tf2onnx, and what Keras answers: run by `test_exporters`.

``python write_with_keras.py FOLDER`` needs tensorflow and tf2onnx, nothing of ours.
"""

import sys
from typing import Any

import numpy as np

OPSETS = (11, 13, 17)


def networks() -> dict[str, Any]:
    """TS-CAN of 36 and 72 pixels, and plain networks with what people put around them."""
    import tensorflow as tf

    layers = tf.keras.layers

    def shift(x: Any, n: int) -> Any:
        _, h, w, c = x.shape
        f = c // 3
        a, b, r = tf.split(tf.reshape(x, (-1, n, h, w, c)), [f, f, c - 2 * f], -1)
        a = tf.concat([a[:, 1:], tf.zeros_like(a[:, :1])], 1)
        b = tf.concat([tf.zeros_like(b[:, :1]), b[:, :-1]], 1)
        return tf.reshape(tf.concat([a, b, r], -1), (-1, h, w, c))

    def moved(n: int) -> Any:
        return layers.Lambda(lambda x: shift(x, n))

    def ts_can(n: int, side: int, rows: int | None) -> Any:
        motion = layers.Input((side, side, 3), batch_size=rows)
        still = layers.Input((side, side, 3), batch_size=rows)
        d = layers.Conv2D(8, 3, padding="same", activation="tanh")(moved(n)(motion))
        d = layers.Conv2D(8, 3, activation="tanh")(moved(n)(d))
        r = layers.Conv2D(8, 3, padding="same", activation="tanh")(still)
        g = layers.Conv2D(1, 1, activation="sigmoid")(layers.Conv2D(8, 3, activation="tanh")(r))
        area = (side - 2) ** 2
        g = layers.Lambda(lambda v: v / tf.reduce_sum(v, (1, 2), keepdims=True) * area * 0.5)(g)
        x = layers.Dropout(0.25)(layers.AveragePooling2D(2)(d * g))
        x = layers.Dense(16, activation="tanh")(layers.Flatten()(x))
        return tf.keras.Model([motion, still], layers.Dense(1)(layers.Dropout(0.5)(x)))

    def plain(n: int, rows: int | None, end: str = "", rescaled: bool = False) -> Any:
        x = given = layers.Input((24, 24, 3), batch_size=rows)
        x = layers.Rescaling(1 / 127.5, offset=-1)(x) if rescaled else moved(n)(x)
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        x = moved(n)(layers.BatchNormalization()(x))
        x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, strides=2, padding="same")(x))
        x = layers.Dense(4)(layers.GlobalAveragePooling2D()(x))
        x = layers.Lambda(lambda v: tf.reduce_mean(tf.reshape(v, (-1, n, 4)), 1))(x)
        return tf.keras.Model(given, layers.Activation(end)(x) if end else x)

    return {
        "ts-can 36 px, 10 rows": ts_can(10, 36, 10),
        "ts-can 36 px, 20 rows": ts_can(10, 36, 20),
        "ts-can 36 px, open": ts_can(10, 36, None),
        "ts-can 72 px": ts_can(20, 72, 20),
        "plain": plain(6, 12),
        "plain, open": plain(8, None),
        "softmax": plain(8, 8, "softmax"),
        "sigmoid": plain(8, 16, "sigmoid"),
        "rescaled": plain(8, 8, "", True),
    }


def main(folder: str) -> None:
    """Write every network in every opset, and one answer of each."""
    import tensorflow as tf
    import tf2onnx

    rng = np.random.default_rng(0)
    for name, model in networks().items():
        for opset in OPSETS:
            path = f"{folder}/{name}, opset {opset}"
            specs = [tf.TensorSpec(x.shape, tf.float32) for x in model.inputs]
            run = tf.function(lambda *x, m=model: m(list(x) if len(x) > 1 else x[0]))
            tf2onnx.convert.from_function(
                run, input_signature=specs, opset=opset, output_path=f"{path}.onnx"
            )
            scale = 60 if name == "rescaled" else 1
            clips = [
                (scale * rng.normal(size=(x.shape[0] or 40, *x.shape[1:]))).astype(np.float32)
                for x in model.inputs
            ]
            answer = model(clips if len(clips) > 1 else clips[0], training=False)
            np.savez(f"{path}.npz", *clips, answer=np.asarray(answer))


if __name__ == "__main__":
    main(sys.argv[1])
