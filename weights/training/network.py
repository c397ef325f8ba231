"""A thin TSM-ResNet of basic blocks, and the scaffolding that is dropped after training (PyTorch).

Names and layout follow torchvision's ResNet, so that the state dict loads elsewhere as it is.
"""

import torch
from torch import Tensor, nn

from .motion import CLEAN, FRAMES

FOLD_DIV = 4


def shift_of(mode: str, channels: int) -> list[int]:
    """One integer per channel, out[t] = x[t - d]: the whole definition of a twin."""
    fold = channels // FOLD_DIV
    head = {"tsn": [0, 0], "offline": [-1, 1], "online": [1, 1]}[mode]
    return [head[0]] * fold + [head[1]] * fold + [0] * (channels - 2 * fold)


class TemporalShift(nn.Module):
    """Move whole channels by one frame, zeros entering; x is (N * T, C, H, W), frames adjacent."""

    def __init__(self, mode: str, channels: int) -> None:
        super().__init__()
        self.mode, self.fold = mode, channels // FOLD_DIV

    def forward(self, x: Tensor) -> Tensor:
        """Shift one clip batch; both directions are written out because slices copy fastest."""
        if self.mode == "tsn":
            return x
        x = x.permute(0, 2, 3, 1).unflatten(0, (-1, FRAMES))
        f, g = self.fold, 2 * self.fold
        out = torch.zeros_like(x)
        out[..., g:] = x[..., g:]
        out[:, 1:, ..., f:g] = x[:, :-1, ..., f:g]
        if self.mode == "online":
            out[:, 1:, ..., :f] = x[:, :-1, ..., :f]
        else:
            out[:, :-1, ..., :f] = x[:, 1:, ..., :f]
        return out.flatten(0, 1).permute(0, 3, 1, 2)


class BasicBlock(nn.Module):
    """y = relu(skip(x) + bn2(conv2(relu(bn1(conv1(shift(x)))))))."""

    def __init__(self, mode: str, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.shift = TemporalShift(mode, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N * T, C, H, W) -> (N * T, C', H', W')."""
        y = torch.relu_(self.bn1(self.conv1(self.shift(x))))
        y = self.bn2(self.conv2(y))
        return torch.relu_(y + (x if self.downsample is None else self.downsample(x)))


class CameraNet(nn.Module):
    """Frames (N * T, 3, S, S) -> logits; `widths` and `depths` have one entry per stage."""

    def __init__(
        self,
        mode: str,
        widths: tuple[int, ...] = (16, 32, 64),
        depths: tuple[int, ...] = (1, 2, 2),
        stem_stride: int = 2,
        classes: int = CLEAN,
    ) -> None:
        super().__init__()
        self.arch = {
            "mode": mode, "widths": list(widths), "depths": list(depths),
            "stem": {"kernel": 3, "stride": stem_stride, "padding": 1, "maxpool": False},
            "stage_strides": [1] + [2] * (len(widths) - 1), "fold_div": FOLD_DIV,
        }  # fmt: skip
        self.conv1 = nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages = len(widths)
        c = widths[0]
        for s, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks = []
            for b in range(depth):
                blocks.append(BasicBlock(mode, c, width, 2 if s and not b else 1))
                c = width
            self.add_module(f"layer{s + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c, classes)
        self.aux_flow = nn.ModuleList([nn.Conv2d(w, 2, 1) for w in widths])
        self.aux_velocity = nn.Linear(c, 4)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(m, BasicBlock):
                nn.init.constant_(m.bn2.weight, 0.5)

    def features(self, x: Tensor) -> list[Tensor]:
        """The map after each stage."""
        x = torch.relu_(self.bn1(self.conv1(x)))
        maps = []
        for s in range(self.stages):
            x = getattr(self, f"layer{s + 1}")(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K): a linear layer per frame, then the mean over the frames."""
        pooled = self.features(x)[-1].mean((2, 3))
        return self.fc(pooled).unflatten(0, (-1, FRAMES)).mean(1)

    def forward_train(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Logits (N, K), velocities (N, T, 4) and dense flow (N, T, 2, h, w) after each stage."""
        maps = self.features(x)
        pooled = maps[-1].mean((2, 3))
        logits = self.fc(pooled).unflatten(0, (-1, FRAMES)).mean(1)
        velocity = self.aux_velocity(pooled).unflatten(0, (-1, FRAMES))
        flow = [h(m).unflatten(0, (-1, FRAMES)) for h, m in zip(self.aux_flow, maps, strict=True)]
        return logits, velocity, flow


def begin_from(net: CameraNet, weights: dict[str, Tensor]) -> None:
    """Take the weights of a trained network over, whose classes are the first of this one's."""
    own = net.state_dict()
    for name, value in weights.items():
        if value.ndim:
            own[name][: len(value)] = value.reshape(-1, *own[name].shape[1:])
    net.load_state_dict(own)


def exported(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without its scaffolding and counters."""
    return {k: v for k, v in state.items() if not k.startswith("aux_") and "num_batches" not in k}
