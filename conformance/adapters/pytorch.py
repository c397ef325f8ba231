"""Adapters of PyTorch projects: their shift, their temporal pool, their TS-CAN."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from conformance.adapters.taking import take
from conformance.questions.arrays import Array, native

LAYOUT = "(NT)CHW"


class Shift:
    """A shift of merged clips, ``function(x, segments, fold_div)``, and its gradient."""

    def __init__(self, function: Callable[..., Any], **declaration: Any) -> None:
        self.function = function
        capabilities = {"layout": LAYOUT, **declaration.pop("capabilities", {})}
        offered = ["temporal_shift", "temporal_shift_adjoint"]
        capabilities.setdefault("operations", offered)
        self.declaration = {**declaration, "capabilities": capabilities}

    def temporal_shift(self, x: Array, fold_div: int, segments: int) -> Any:
        """Their shift."""
        import torch

        with torch.no_grad():
            return self.function(tensor(x), segments, fold_div)

    def temporal_shift_adjoint(self, y: Array, fold_div: int, segments: int) -> Any:
        """The gradient that PyTorch makes of their shift."""
        import torch

        x = torch.zeros(y.shape, dtype=tensor(y).dtype, requires_grad=True)
        self.function(x, segments, fold_div).backward(tensor(y))
        return x.grad


class ShiftAndPool(Shift):
    """MIT's module has a temporal pool beside its shift."""

    def __init__(self, function: Callable[..., Any], pool: Callable[..., Any], **told: Any) -> None:
        offered = ["temporal_shift", "temporal_shift_adjoint", "max_pool"]
        layouts = {"max_pool": "NTCHW"}
        super().__init__(function, capabilities={"operations": offered, "layouts": layouts}, **told)
        self.pool = pool

    def max_pool(self, x: Array, kernel: Any, stride: Any, padding: Any, **more: Any) -> Any:
        """Their pool over three frames; any other window is not theirs."""
        if (list(kernel), list(stride), list(padding)) != ([3, 1, 1], [2, 1, 1], [1, 0, 0]):
            raise NotImplementedError("only the temporal pool of three frames")
        n, t, *rest = x.shape
        pooled = self.pool(tensor(x).reshape(n * t, *rest), t)
        return pooled.reshape(n, -1, *pooled.shape[1:])


class TsCan(Shift):
    """A TS-CAN of rPPG-Toolbox: its shift, its attention mask, its network."""

    NAMES: Mapping[str, str] = {
        "appearance_conv": "apperance_conv",
        "attention": "apperance_att_conv",
        "dense": "final_dense_",
    }

    def __init__(self, module: Any, **told: Any) -> None:
        offered = ["temporal_shift", "temporal_shift_adjoint", "attention_mask", "network"]
        super().__init__(
            lambda x, segments, div: module.TSM(segments, div)(x),
            capabilities={"operations": offered, "architectures": ["ts_can"]},
            **told,
        )
        self.module = module

    def attention_mask(self, m: Array, segments: int) -> Any:
        """Their mask."""
        return self.module.Attention_mask()(tensor(m))

    def network(
        self,
        x: Array,
        appearance: Array,
        weights: Mapping[str, Array],
        filters: Any,
        hidden: int,
        segments: int,
        **more: Any,
    ) -> Any:
        """Their TS-CAN with the weights of a case under their own names."""
        import torch

        net = self.module.TSCAN(
            nb_filters1=filters[0], nb_filters2=filters[1], nb_dense=hidden, frame_depth=segments
        )
        # Theirs is as wide as 64 filters of 7x7 want it; a case may have others.
        net.final_dense_1 = torch.nn.Linear(filters[1] * 49, hidden)
        net.load_state_dict({self._renamed(k): tensor(v) for k, v in weights.items()})
        with torch.no_grad():
            pulse = net.eval()(torch.cat([tensor(x), tensor(appearance)], 1))
        return pulse.reshape(-1, segments)

    def _renamed(self, name: str) -> str:
        for ours, theirs in self.NAMES.items():
            if name.startswith(ours):
                return theirs + name[len(ours) :]
        return name


def tensor(x: Array) -> Any:
    """An array as a tensor of its own memory."""
    import torch

    return torch.from_numpy(native(x))


def namespace() -> dict[str, Any]:
    """What files of PyTorch projects import."""
    import torch

    return {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "Tensor": torch.Tensor}


def static_shift(file: Path, cls: str, /, **told: Any) -> Shift:
    """A class with a static ``shift(x, segments, fold_div)``, as MIT's and its ports."""
    return Shift(getattr(take(file, [cls], namespace()), cls).shift, **told)


def module_shift(file: Path, cls: str, /, **told: Any) -> Shift:
    """A module that is made with ``n_segment`` and ``fold_div``."""
    kind = getattr(take(file, [cls], namespace()), cls)
    return Shift(lambda x, segments, div: kind(segments, div)(x), **told)
