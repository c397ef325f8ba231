"""Adapters of Keras layers and of PaddlePaddle's own operator."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conformance.adapters.taking import take
from conformance.questions.arrays import Array, native


class KerasTsCan:
    """The shift and the attention mask of MTTS-CAN, layers over pictures with channels last."""

    def __init__(self, file: Path, **told: Any) -> None:
        import tensorflow as tf

        backend = SimpleNamespace(
            reshape=tf.reshape,
            sum=lambda x, axis, keepdims: tf.reduce_sum(x, axis, keepdims),
            int_shape=lambda x: tuple(x.shape),
        )
        self.their = take(file, ["TSM", "Attention_mask"], {"tf": tf, "K": backend})
        capabilities = {
            "layout": "(NT)HWC",
            "operations": ["temporal_shift", "temporal_shift_adjoint", "attention_mask"],
        }
        self.declaration = {**told, "capabilities": capabilities}

    def temporal_shift(self, x: Array, fold_div: int, segments: int) -> Any:
        """Their layer."""
        import tensorflow as tf

        return self.their.TSM().call(tf.constant(native(x)), segments, fold_div).numpy()

    def temporal_shift_adjoint(self, y: Array, fold_div: int, segments: int) -> Any:
        """The gradient that TensorFlow makes of their layer."""
        import tensorflow as tf

        x = tf.Variable(native(y) * 0)
        with tf.GradientTape() as tape:
            moved = self.their.TSM().call(x, segments, fold_div)
        return tape.gradient(moved, x, output_gradients=tf.constant(native(y))).numpy()

    def attention_mask(self, m: Array, segments: int) -> Any:
        """Their layer."""
        import tensorflow as tf

        return self.their.Attention_mask().call(tf.constant(native(m))).numpy()


class Paddle:
    """``paddle.nn.functional.temporal_shift`` on merged clips, channels first."""

    def __init__(self, **told: Any) -> None:
        import paddle  # noqa: F401  takes seconds, which are not those of the first answer

        capabilities = {
            "layout": "(NT)CHW",
            "operations": ["temporal_shift", "temporal_shift_adjoint"],
            "dtypes": ["float32", "float64"],
        }
        self.declaration = {**told, "capabilities": capabilities}

    def temporal_shift(self, x: Array, fold_div: int, segments: int) -> Any:
        """Its ratio is the part of the channels in one fold, below one half."""
        import paddle

        return self._shifted(paddle.to_tensor(native(x)), fold_div, segments).numpy()

    def temporal_shift_adjoint(self, y: Array, fold_div: int, segments: int) -> Any:
        """Its own gradient."""
        import paddle

        x = paddle.to_tensor(native(y) * 0, stop_gradient=False)
        self._shifted(x, fold_div, segments).backward(paddle.to_tensor(native(y)))
        return x.grad.numpy()

    def _shifted(self, x: Any, fold_div: int, segments: int) -> Any:
        from paddle.nn.functional import temporal_shift

        return temporal_shift(x, segments, 1 / fold_div)
