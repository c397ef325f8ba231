"""Writes ONNX files with Paddle and paddle2onnx, and what Paddle answers: run by `test_exporters`.

``python write_with_paddle.py FOLDER`` needs paddlepaddle and paddle2onnx, nothing of ours.
"""

import sys
from itertools import product
from typing import Any

import numpy as np

T, SHAPE = 8, (1, 8, 3, 32, 32)


def network(end: str, dropout: str, activation: str) -> Any:
    """A stem, Paddle's own shift, a depthwise block; the dropout scales at inference, or not."""
    from paddle import nn
    from paddle.nn import functional

    act = getattr(functional, activation)

    class Network(nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2D(3, 16, 3, 2, 1), nn.BatchNorm2D(16)
            self.conv, self.deep = nn.Conv2D(16, 16, 1), nn.Conv2D(16, 16, 3, 1, 1, groups=16)
            self.pool, self.drop = nn.AdaptiveAvgPool2D(1), nn.Dropout(0.2, mode=dropout)
            self.fc = nn.Linear(16, 5)

        def forward(self, x):  # type: ignore[no-untyped-def]
            x = act(self.norm(self.stem(x.reshape([-1, 3, 32, 32]))))
            y = functional.temporal_shift(x, T, 1 / 8)
            x = self.drop(self.pool(act(self.deep(self.conv(y))) + x))
            if end == "features":
                return self.fc(x.reshape([-1, T, 16]).mean(1))
            x = self.fc(x.reshape([-1, 16])).reshape([-1, T, 5]).mean(1)
            return functional.softmax(x) if end == "softmax" else x

    return Network()


def main(folder: str) -> None:
    """Write every network, and one answer of each."""
    import paddle

    rng = np.random.default_rng(0)
    modes, acts = ("upscale_in_train", "downscale_in_infer"), ("relu", "hardswish")
    for end, mode, act in product(("logits", "features", "softmax"), modes, acts):
        model = network(end, mode, act)
        clip = rng.normal(size=SHAPE).astype(np.float32)
        model.train()
        model(paddle.to_tensor(clip))  # statistics
        model.eval()
        answer = model(paddle.to_tensor(clip)).numpy()
        spec = [paddle.static.InputSpec(list(SHAPE), "float32", "x")]
        still = paddle.jit.to_static(model, input_spec=spec, full_graph=True)
        path = f"{folder}/{end}, {mode}, {act}"
        paddle.onnx.export(still, path, input_spec=spec, opset_version=13)
        np.savez(f"{path}.npz", clip, answer=answer)


if __name__ == "__main__":
    main(sys.argv[1])
