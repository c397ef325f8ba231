"""Adapters of streams: the online demo of MIT and its ports, and continual-inference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.adapters.pytorch import namespace, tensor
from conformance.adapters.taking import take
from conformance.questions.arrays import Array

DEFINED = ["conv_bn", "conv_1x1_bn", "make_divisible", "InvertedResidual",
           "InvertedResidualWithShift", "MobileNetV2"]  # fmt: skip


class OnlineDemo:
    """Their MobileNetV2 with buffers as inputs and outputs, of the blocks that a case asks for.

    The blocks and the forward pass are theirs; which blocks there are is the case's table.
    """

    def __init__(self, file: Path, **told: Any) -> None:
        import math

        self.their = take(file, DEFINED, {**namespace(), "math": math})
        capabilities = {"operations": ["stream"], "architectures": ["mobilenet_v2"]}
        self.declaration = {**told, "capabilities": capabilities}

    def stream(self, subject: str, weights: Mapping[str, Array], **a: Any) -> Any:
        """A stream over their network."""
        if a["fold_div"] != 8:
            raise NotImplementedError("the online demo shifts an eighth of the channels")
        return _Buffers(self._network(weights, a), self.their.InvertedResidualWithShift)

    def _network(self, weights: Mapping[str, Array], a: Mapping[str, Any]) -> Any:
        import torch

        t = self.their
        first, *outputs, last = a["channels"]
        blocks, channels = [t.conv_bn(3, first, 2)], first
        for expansion, out, stride in zip(a["expansions"], outputs, a["strides"], strict=True):
            shifts = expansion > 1 and stride == 1 and channels == out
            kind = t.InvertedResidualWithShift if shifts else t.InvertedResidual
            blocks.append(kind(channels, out, stride, expansion))
            channels = out
        net = t.MobileNetV2.__new__(t.MobileNetV2)
        torch.nn.Module.__init__(net)
        net.features = torch.nn.ModuleList([*blocks, t.conv_1x1_bn(channels, last)])
        net.classifier = torch.nn.Linear(last, a["classes"])
        state = {name: tensor(value) for name, value in weights.items()}
        missing = net.load_state_dict(state, strict=False)
        if missing.unexpected_keys or any("batches" not in k for k in missing.missing_keys):
            raise ValueError(f"the weights do not fit: {missing}")
        return net.eval()


class _Buffers:
    """One stream: the network, and the buffers that it gave with the frame before."""

    def __init__(self, net: Any, shifting: Any) -> None:
        self.net, self.shifting = net, shifting
        self.state: Any = None

    def step(self, chunk: Array) -> Any:
        """(N, 3, t, H, W) -> (N, K, t), a frame at a time."""
        import torch

        made = []
        with torch.no_grad():
            for t in range(chunk.shape[2]):
                frame = tensor(chunk[:, :, t])
                buffers = self.state or self._zeros(frame)
                logits, *kept = self.net(frame, *buffers)
                self.state = kept
                made.append(logits)
        return torch.stack(made, 2)

    def reset(self) -> None:
        """Forget the buffers; their demo never does."""
        self.state = None

    def _zeros(self, x: Any) -> list[Any]:
        """Empty buffers of the shapes that the blocks want."""
        import torch

        buffers = []
        for block in self.net.features:
            if isinstance(block, self.shifting):
                n, c, h, w = x.shape
                buffers.append(torch.zeros(n, c // 8, h, w))
                x, _ = block(x, buffers[-1])
            else:
                x = block(x)
        return buffers


class Continual:
    """A causal shift of one ``continual.Delay`` in front of the first fold."""

    def __init__(self, **told: Any) -> None:
        capabilities = {"operations": ["stream"], "architectures": ["shift"]}
        self.declaration = {**told, "capabilities": capabilities}

    def stream(self, subject: str, fold_div: int) -> Any:
        """A stream of the shift alone."""
        return _Delayed(fold_div)


class _Delayed:
    """The delay of continual-inference, with its state as it hands it out."""

    def __init__(self, fold_div: int) -> None:
        import continual

        self.delay, self.fold_div = continual.Delay(1), fold_div

    def step(self, chunk: Array) -> Any:
        """(N, C, t, H, W) -> the same shape."""
        import torch

        f = chunk.shape[1] // self.fold_div
        made = []
        for t in range(chunk.shape[2]):
            x = tensor(chunk[:, :, t])
            late = self.delay.forward_step(x[:, :f])
            late = late if isinstance(late, torch.Tensor) else torch.zeros_like(x[:, :f])
            made.append(torch.cat([late, x[:, f:]], 1))
        return torch.stack(made, 2)

    def reset(self) -> None:
        """Their ``clean_state``."""
        self.delay.clean_state()

    @property
    def state(self) -> Any:
        """Their ``get_state``."""
        return self.delay.get_state()

    @state.setter
    def state(self, saved: Any) -> None:
        if saved is None:
            self.reset()
        else:
            self.delay.set_state(saved)
