"""Adapters of Keras layers, of JAX functions and of PaddlePaddle's own operator."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

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


class Jax:
    """A function of JAX over pictures with channels last, ``function(x, segments, fold_div)``."""

    def __init__(self, function: Callable[..., Any], **told: Any) -> None:
        self.function = function
        offered = ["temporal_shift", "temporal_shift_adjoint"]
        self.declaration = {**told, "capabilities": {"layout": "(NT)HWC", "operations": offered}}

    def temporal_shift(self, x: Array, fold_div: int, segments: int) -> Any:
        """Their function."""
        return np.asarray(self.function(self._taken(x), segments, fold_div))

    def temporal_shift_adjoint(self, y: Array, fold_div: int, segments: int) -> Any:
        """The gradient that JAX makes of their function."""
        import jax

        taken = self._taken(y)
        _, pull = jax.vjp(lambda x: self.function(x, segments, fold_div), taken * 0)
        return np.asarray(pull(taken)[0])

    def _taken(self, x: Array) -> Any:
        import jax

        jax.config.update("jax_enable_x64", True)
        return jax.numpy.asarray(native(x))


def open_rppg(file: Path, **told: Any) -> Jax:
    """The shift of open-rppg, in windows of as many frames as there are in a clip."""
    import jax

    operations = SimpleNamespace(reshape=jax.numpy.reshape, concatenate=jax.numpy.concatenate)
    names = {"ops": operations, "layers": SimpleNamespace(Layer=object)}
    layer = take(file, ["TSM"], names).TSM

    def function(x: Any, segments: int, fold_div: int) -> Any:
        theirs = layer.__new__(layer)
        theirs.n = theirs.frames = segments
        return theirs.call(x, fold_div)

    return Jax(function, **told)


def mmv(file: Path, **told: Any) -> Jax:
    """The shift of DeepMind's MMV, which is told which part of the channels moves each way."""
    import jax

    names = {"jax": jax, "jnp": jax.numpy, "types": SimpleNamespace(TensorLike=Any)}
    shift = take(file, ["temporal_shift_gpu"], names).temporal_shift_gpu
    return Jax(lambda x, segments, div: shift(x, segments, 1 / div), **told)


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
