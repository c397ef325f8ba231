"""What MMEngine and MMCV keep beside the weights: the configuration, as text, and the classes.

The text is Python: assignments of numbers, texts, lists and ``dict(...)``. It is parsed and never
run; what is anything else counts as unknown.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from tsm_ref.errors import CheckpointError

MAX_TEXT = 2**18
MAX_DEPTH = 24

Tree = Mapping[str, Any]

UNKNOWN = object()
"""What stands for a value that is not a plain one."""


def read_config(text: str) -> dict[str, Any]:
    r"""The assignments of a configuration, as far as they are plain values.

    >>> read_config("model = dict(type='TSM', div=8, mean=[1.5, -2])\nwork_dir = str(1)")
    {'model': {'type': 'TSM', 'div': 8, 'mean': [1.5, -2]}}
    """
    if len(text) > MAX_TEXT:
        raise CheckpointError(
            f"the configuration in the file has {len(text)} characters; at most {MAX_TEXT} are read"
        )
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise CheckpointError("the configuration in the file is not one of MMEngine") from None
    found = {}
    for line in body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            value = _value(line.value, 0)
            if value is not UNKNOWN:
                found[line.targets[0].id] = value
    return found


def _value(node: ast.expr, depth: int) -> Any:
    """The plain value that an expression writes down; `UNKNOWN` for any other."""
    if depth > MAX_DEPTH:
        return UNKNOWN
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(part, depth + 1) for part in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand, depth + 1)
        return -value if type(value) in (int, float) else UNKNOWN
    pairs: Iterator[tuple[Any, ast.expr]] = iter(())
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        pairs = ((word.arg, word.value) for word in node.keywords)
    elif isinstance(node, ast.Dict):
        pairs = (
            (key.value if isinstance(key, ast.Constant) else None, value)
            for key, value in zip(node.keys, node.values, strict=True)
        )
    else:
        return UNKNOWN
    return {key: _value(value, depth + 1) for key, value in pairs if isinstance(key, str)}


# Facts


def facts_of_meta(meta: Any) -> dict[str, dict[str, Any]]:
    """The facts that ``meta`` of a checkpoint tells, by where in it they stand.

    >>> text = "model = dict(backbone=dict(type='ResNetTSM', shift_div=4))"
    >>> facts_of_meta({"cfg": text})["meta.cfg, model"]["fold_div"]
    4
    """
    if type(meta) is not dict:
        return {}
    found: dict[str, dict[str, Any]] = {}
    text = next((meta[k] for k in ("cfg", "config") if type(meta.get(k)) is str), "")
    if text:
        config = read_config(text)
        model = _tree(config, "model")
        found["meta.cfg, model"] = _of_model(model)
        pipeline = found["meta.cfg, pipeline"] = _of_pipeline(config)
        found["meta.cfg, model"] |= _of_windows(model, pipeline)
    labels = _labels(meta)
    if labels:
        found["meta, classes"] = {"labels": labels}
    return found


def _labels(meta: Tree) -> tuple[str, ...]:
    """The names of the classes: ``dataset_meta.classes`` of MMEngine, ``CLASSES`` of MMCV."""
    known = _tree(meta, "dataset_meta")
    for names in (known.get("classes"), known.get("CLASSES"), meta.get("CLASSES")):
        if type(names) in (list, tuple) and names and all(type(name) is str for name in names):
            return tuple(names)
    return ()


def _tree(tree: Tree, key: str) -> Tree:
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def _of_model(model: Tree) -> dict[str, Any]:
    """What the backbone does, with the defaults of its class, and how views are averaged."""
    backbone, found = _tree(model, "backbone"), {}
    kind = str(backbone.get("type", "")).rpartition(".")[2]
    if kind.endswith("TSM"):
        shifts = backbone.get("is_shift", True) is not False
        found["placement"] = str(backbone.get("shift_place", "blockres")) if shifts else "none"
        if shifts:
            found["shift"] = "mit"
            found["fold_div"] = backbone.get("shift_div", 8)
    elif kind in ("ResNet", "MobileNetV2"):
        found["placement"] = "none"
    if kind in ("ResNet", "ResNetTSM"):
        _check_usual(backbone)
        found["strides"] = str(backbone.get("style", "pytorch"))
        blocks = _tree(backbone, "non_local_cfg")
        if blocks:
            found["non_local"] = str(blocks.get("mode", "embedded_gaussian"))
            if found["non_local"] == "embedded_gaussian" and blocks.get("use_scale", True):
                raise CheckpointError(
                    "the configuration scales what a non-local block compares (use_scale); only "
                    "unscaled ones are known"
                )
    average = _tree(model, "cls_head").get("average_clips", UNKNOWN)
    if average is UNKNOWN:
        average = _tree(model, "test_cfg").get("average_clips", UNKNOWN)
    if average is not UNKNOWN:
        found["average"] = "probabilities" if average == "prob" else "logits"
    found |= _normalised(_tree(model, "data_preprocessor"))
    return {name: value for name, value in found.items() if value is not UNKNOWN}


def _of_windows(model: Tree, pipeline: Tree) -> dict[str, Any]:
    """A backbone that is told of fewer frames than are sampled shifts within windows of them.

    A window of 0 frames is the whole clip.
    """
    backbone = _tree(model, "backbone")
    frames, sampled = backbone.get("num_segments", 8), pipeline.get("segments")
    shifts = str(backbone.get("type", "")).endswith("TSM") and backbone.get("is_shift", True)
    if not shifts or type(frames) is not int or sampled is None:
        return {}
    if sampled == frames:
        return {"frame_depth": 0}
    if frames < 1 or sampled % frames:
        raise CheckpointError(
            f"the configuration samples {sampled} frames, and its backbone shifts within {frames}"
        )
    return {"frame_depth": frames}


USUAL = {
    "strides": [1, 2, 2, 2],
    "dilations": [1, 1, 1, 1],
    "act_cfg": {"type": "ReLU", "inplace": True},
    "num_stages": 4,
}
"""Options of a ResNet that no tensor tells, and what they must be."""


def _check_usual(backbone: Tree) -> None:
    for name, usual in USUAL.items():
        if backbone.get(name, usual) != usual:
            raise CheckpointError(
                f"the configuration gives the backbone {name} {backbone[name]}; {usual} is known"
            )


def _normalised(config: Tree) -> dict[str, Any]:
    """Mean and deviation of pixels in 0..255, and whether blue comes first."""
    found: dict[str, Any] = {}
    for name in ("mean", "std"):
        values = config.get(name)
        numbers = isinstance(values, list) and all(type(v) in (int, float) for v in values)
        if numbers and len(values or ()) == 3:
            found[name] = tuple(float(v) for v in values or ())
    if len(found) == 2:
        found["scale"] = 1.0
        return found
    return {}


def _of_pipeline(config: Tree) -> dict[str, Any]:
    """How frames are sampled and prepared, as in validation: one centre crop of each."""
    found: dict[str, Any] = {}
    for name in ("val_pipeline", "test_pipeline"):
        steps = config.get(name)
        if isinstance(steps, list) and steps:
            for step in steps:
                if isinstance(step, dict):
                    found |= _of_step(str(step.get("type", "")).rpartition(".")[2], step)
            break
    return found


def _of_step(kind: str, step: Tree) -> dict[str, Any]:
    if kind in ("SampleFrames", "DenseSampleFrames") and step.get("clip_len") == 1:
        count = step.get("num_clips")
        dense = kind == "DenseSampleFrames"
        found: dict[str, Any] = {"sampling": "dense" if dense else "mmaction2"}
        return found | ({"segments": count} if type(count) is int else {})
    if kind == "Resize" and isinstance(step.get("scale"), list):
        sides = [side for side in step["scale"] if type(side) is int]
        if len(sides) == 2 and min(sides) == -1:
            return {"short_side": max(sides), "size": None}
    if kind == "CenterCrop" and type(step.get("crop_size")) is int:
        return {"crop": (step["crop_size"],) * 2, "crops": "center"}
    if kind == "Normalize":
        return _normalised(step)
    return {}
