"""A TensorFlow Lite file as a `Checkpoint`: read under guard, then lifted as an ONNX file is."""

from dataclasses import replace

import numpy as np

from tsm_ref.checkpoint.contents import Checkpoint
from tsm_ref.checkpoint.disk import StrPath
from tsm_ref.checkpoint.onnx_in.load import checkpoint_of
from tsm_ref.checkpoint.tflite.guard import VERSION, TfliteModel, read_tflite
from tsm_ref.checkpoint.tflite.schema import MAGIC
from tsm_ref.checkpoint.tflite.translation import SUPPORTED, as_onnx, fine, rounded_at_run_time
from tsm_ref.checkpoint.tflite.writing import FINE, ROUNDED
from tsm_ref.profile import Profile

FORMAT = "tflite"

RANGES = {(0, 255): (1.0, 0.0), (0, 1): (1 / 255, 0.0), (-1, 1): (1 / 255, 0.5)}
"""How far pictures reach that are not normalised by channel: factor, and mean as well as spread."""


def is_tflite(head: bytes) -> bool:
    """True for the first bytes of a TensorFlow Lite file.

    >>> is_tflite(bytes([28, 0, 0, 0]) + b"TFL3")
    True
    """
    return head[4:8] == MAGIC


def load_tflite(path: StrPath, profile: Profile | None = None) -> Checkpoint:
    """Read a TensorFlow Lite file into a graph of ours, its shifts lifted.

    ``profile`` says what the file does not: sampling, preprocessing, labels; MIT's unless given.
    What the shifts do is in the file, and a given profile must say the same.

    Raises `CheckpointError` in one sentence for what is damaged, hostile, or not understood.
    """
    model = read_tflite(path, SUPPORTED)
    made = checkpoint_of(as_onnx(model), path, profile, (FORMAT, VERSION))
    meant, assumed = (
        (profile, ()) if profile else _meant(replace(made.profile, family=FORMAT), model)
    )
    warnings = (*made.warnings, *assumed, *_warnings(model))
    return replace(made, profile=meant, warnings=warnings, remarks=_remarks(model))


def _meant(profile: Profile, model: TfliteModel) -> tuple[Profile, tuple[str, ...]]:
    """A profile whose pictures reach as far as an input of whole numbers does, where that tells."""
    tensor = model.tensors[model.inputs[0]]
    if tensor.steps is None or tensor.dtype not in ROUNDED or len(model.inputs) != 1:
        return profile, ()
    scale, zero = float(tensor.steps.scale[0]), int(tensor.steps.zero_point[0])
    info = np.iinfo(tensor.dtype)
    ends = (scale * (info.min - zero), scale * (info.max - zero))
    for (low, high), (factor, middle) in RANGES.items():
        if max(abs(ends[0] - low), abs(ends[1] - high)) < 1.5 * scale:
            spread = middle or 1.0
            spec = replace(
                profile.preprocess,
                scale=factor,
                mean=(middle, middle, middle),
                std=(spread, spread, spread),
            )
            said = f"the input reaches from {low} to {high}: pixels are taken to be brought to that"
            return replace(profile, preprocess=spec), (said,)
    return profile, ()


def _warnings(model: TfliteModel) -> tuple[str, ...]:
    """What is computed in another way than LiteRT does."""
    said = {
        "{} layers have weights of 8 bits and read reals: LiteRT rounds what they read at run "
        "time, here it stays real": rounded_at_run_time(model),
        "{} values are of 16 bits: LiteRT rounds them to steps of 1/32767 of their range, here "
        "they stay real (answers differ by some such steps, and where one is beyond the range that "
        "the file gives it, as it is cut off there)": fine(model),
    }
    return tuple(text.format(count) for text, count in said.items() if count)


def _remarks(model: TfliteModel) -> tuple[str, ...]:
    whole = [
        model.tensors[number].name
        for number in (*model.inputs, *model.outputs)
        if model.tensors[number].dtype in (*ROUNDED, FINE)
        and model.tensors[number].steps is not None
    ]
    if not whole:
        return ()
    names = ", ".join(whole)[:200]
    return (f"whole numbers in the file, given and taken as the reals they stand for: {names}",)
