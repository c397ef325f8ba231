"""Finds the sets of named tensors in what a pickle describes: state dicts, and whole modules.

A set is a dictionary that holds tensors by name, wherever it stands: at the top, under
``state_dict`` or ``model``, in a list of pairs of an epoch and a state. A module that was pickled
whole holds its tensors by name too; it is read, and never made.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from tsm_ref.checkpoint.tensors.pickle_names import Foreign, NumpyArray, Tensor, holds_numbers
from tsm_ref.errors import CheckpointError

MAX_DEPTH = 16
MAX_PLACES = 1_000_000
MAX_MODULES = 100_000

PASSED = frozenset(
    (
        *("optimizer", "optimizers", "optimizer_states", "optimizer_state_dict", "optim"),
        *("scheduler", "lr_scheduler", "lr_schedulers", "param_schedulers", "scaler", "amp"),
        *("message_hub", "callbacks", "loops", "rng_state", "grad_scaler"),
    )
)
"""Keys of a training run below which tensors are not weights."""

Values = dict[str, Tensor | NumpyArray]


def tensor_sets(tree: Any) -> dict[str, Values]:
    """Every set of named tensors in a tree, by where it stands; the nearest to the top first.

    The top is ``""``; below it, keys and numbers are joined by dots. What stands under a key of
    `PASSED` is not searched, nor what is nested deeper than `MAX_DEPTH`; numbers alone, such as the
    best accuracy so far, are no set.

    >>> tensor_sets({"model": {"fc.bias": NumpyArray()}, "epoch": 3})
    {}
    """
    found: dict[str, Values] = {}
    seen: set[int] = set()
    waiting: deque[tuple[str, int, Any]] = deque([("", 0, tree)])
    while waiting:
        path, depth, value = waiting.popleft()
        if id(value) in seen or depth > MAX_DEPTH:
            continue
        seen.add(id(value))
        if _is_module(value):
            tensors = _of_module(value)
        else:
            tensors = {name: tensor for name, item in _named(value) if (tensor := _tensor(item))}
            waiting.extend(
                (f"{path}.{key}" if path else key, depth + 1, child)
                for key, child in _children(value)
            )
            if len(waiting) > MAX_PLACES:
                raise CheckpointError(f"the file has more than {MAX_PLACES} places for tensors")
        if any(tensor.shape for tensor in tensors.values()):
            found[path] = tensors
    return found


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a dictionary, or of what is one, whose keys are texts."""
    items = value.items if type(value) is Foreign else value
    if type(items) is dict:
        yield from ((key, item) for key, item in items.items() if type(key) is str)


def _tensor(value: Any) -> Tensor | NumpyArray | None:
    """A tensor, bare or as Paddle writes it: (name, array)."""
    if type(value) is tuple and len(value) == 2 and type(value[1]) is NumpyArray:
        value = value[1]
    if type(value) is Tensor or (type(value) is NumpyArray and holds_numbers(value)):
        return value
    return None


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """The containers inside a value, and their keys; what trains and logs is left out."""
    if type(value) is Foreign:
        yield from (("state", part) for part in (value.state, value.arguments) if _holds(part))
        yield from _children(value.items)
        yield from _children(value.elements)
    elif type(value) is dict:
        yield from (
            (str(key), child)
            for key, child in value.items()
            if _holds(child) and (type(key) is int or (type(key) is str and key not in PASSED))
        )
    elif type(value) is list or type(value) is tuple:
        yield from ((str(i), child) for i, child in enumerate(value) if _holds(child))


def _holds(value: Any) -> bool:
    return type(value) in (dict, list, tuple, Foreign) and _tensor(value) is None


# Modules

TABLES = ("_parameters", "_buffers", "_modules")
"""Where a module of PyTorch keeps what is in it, by name."""

SCRIPT = "__torch__."
"""How the class of a module that was compiled with TorchScript begins."""


def _is_module(value: Any) -> bool:
    if type(value) is not Foreign or type(value.state) is not dict:
        return False
    return value.name.startswith(SCRIPT) or all(type(value.state.get(k)) is dict for k in TABLES)


def _of_module(module: Foreign) -> Values:
    """The tensors of a module and of those in it, named as its ``state_dict`` would name them."""
    found: Values = {}
    waiting: list[tuple[str, int, Foreign]] = [("", 0, module)]
    for _ in range(MAX_MODULES):
        if not waiting:
            return found
        prefix, depth, module = waiting.pop()
        for name, value in _parts(module):
            if tensor := _tensor(value):
                found[f"{prefix}{name}"] = tensor
            elif _is_module(value) and depth < MAX_DEPTH:
                waiting.append((f"{prefix}{name}.", depth + 1, value))
    raise CheckpointError(f"the module in the file is made of more than {MAX_MODULES} modules")


def _parts(module: Foreign) -> Iterator[tuple[str, Any]]:
    state: dict[Any, Any] = module.state
    tables = [state] if module.name.startswith(SCRIPT) else [state[key] for key in TABLES]
    for table in tables:
        yield from ((name, value) for name, value in table.items() if type(name) is str)
