"""PyTorch modules and Keras layers as testees; each framework is imported only when it is used.

    torch_module(MyShift(), layout="(NT)CHW")      an object whose `temporal_shift` is the module
    keras_layer(MyShift(), layout="(NT)HWC")       the same for a Keras layer

A bare ``torch.nn.Module`` or Keras layer given as ``py:module:object`` is wrapped like this by
itself, as the operation `temporal_shift` of profile ``mit``; give it ``declaration`` (a dictionary)
and ``operation`` to say otherwise.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from conformance.questions.arrays import Array, native
from tsm_ref.errors import MissingDependency


class FrameworkTestee:
    """One layer of a framework as the operations that it implements.

    `convert` makes the framework's tensor of an array; arrays in weights are converted too.
    """

    def __init__(
        self,
        target: Any,
        convert: Callable[[Array], Any],
        declaration: Mapping[str, Any],
        operation: str,
    ) -> None:
        self.declaration = dict(declaration)
        self._target = target
        self._convert = convert
        self._operation = operation

    def __getattr__(self, name: str) -> Any:
        target = self.__dict__.get("_target")
        own = getattr(target, name, None) if name != self.__dict__.get("_operation") else target
        from conformance.testees.base import OPERATIONS

        if name not in OPERATIONS or not callable(own):
            raise AttributeError(name)
        return _Bound(own, self._convert)


class _Bound:
    """A callable that is given tensors, and only the attributes that it has parameters for."""

    def __init__(self, function: Any, convert: Callable[[Array], Any]) -> None:
        self.function = function
        self.convert = convert
        forward = getattr(function, "forward", None) or getattr(function, "call", None) or function
        self.__signature__ = inspect.signature(forward)

    def __call__(self, *arrays: Array, **rest: Any) -> Any:
        """Call the framework; what comes back is brought to NumPy as that of any other object."""
        more = {name: self._tensors(value) for name, value in rest.items()}
        return self.function(*map(self.convert, arrays), **more)

    def _tensors(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self._tensors(v) for name, v in value.items()}
        return self.convert(value) if hasattr(value, "dtype") else value


def torch_module(
    module: Any,
    *,
    operation: str = "temporal_shift",
    profile: Any = "mit",
    layout: str = "NCTHW",
    **capabilities: Any,
) -> FrameworkTestee:
    """A ``torch.nn.Module`` in evaluation mode, or any object of functions over tensors.

    Raises `MissingDependency` without PyTorch.
    """
    torch = _import("torch", "run a PyTorch module")
    if hasattr(module, "eval"):
        module.eval()

    def convert(x: Array) -> Any:
        return torch.from_numpy(x if _as_tensors_are(x) else native(x))

    told = {
        "name": type(module).__name__,
        "language": f"PyTorch {torch.__version__}",
        "profile": profile,
        "capabilities": {"layout": layout, **capabilities},
    }
    return FrameworkTestee(module, convert, told, operation)


def _as_tensors_are(x: Array) -> bool:
    """Whether a tensor can share an array's memory, so that a layer which writes is found out.

    A tensor knows no negative strides, no read-only memory, and one order of bytes.
    """
    return x.flags.writeable and min(x.strides, default=0) >= 0 and x.dtype.isnative


def keras_layer(
    layer: Any,
    *,
    operation: str = "temporal_shift",
    profile: Any = "mtts-can",
    layout: str = "(NT)HWC",
    **capabilities: Any,
) -> FrameworkTestee:
    """A Keras layer; Keras keeps channels last, and MTTS-CAN merges clips and frames.

    Raises `MissingDependency` without Keras.
    """
    keras = _import("keras", "run a Keras layer")
    told = {
        "name": type(layer).__name__,
        "language": f"Keras {keras.__version__}",
        "profile": profile,
        "capabilities": {"layout": layout, **capabilities},
    }
    return FrameworkTestee(layer, lambda x: keras.ops.convert_to_tensor(native(x)), told, operation)


def adapter_for(target: Any) -> Callable[[Any], Any] | None:
    """The adapter of a bare module or layer; frameworks that nobody imported are not asked."""
    # A layer of Keras on PyTorch is a PyTorch module too.
    kinds = (("keras", "Layer", keras_layer), ("torch", "nn.Module", torch_module))
    for package, kind, wrap in kinds:
        module = sys.modules.get(package)
        if module is None:
            continue
        base: Any = module
        for part in kind.split("."):
            base = getattr(base, part, None)
        if base is not None and isinstance(target, base):
            return partial(_with_own_words, wrap)
    return None


def _with_own_words(wrap: Callable[..., FrameworkTestee], target: Any) -> FrameworkTestee:
    options = {"operation": getattr(target, "operation", "temporal_shift")}
    testee = wrap(target, **options)
    own = dict(getattr(target, "declaration", {}))
    testee.declaration |= own
    return testee


def _import(package: str, purpose: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise MissingDependency(package, purpose) from None
