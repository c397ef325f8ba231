"""Profiles by name, from files, and changed fact by fact.

A file is JSON or TOML with the fields of `tsm_ref.profile.Profile`. With ``base = "mit"`` it starts
from a named profile and says only what is different; without, it says everything. TOML has no word
for nothing, so ``"none"`` stands for it.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.profile import PROFILES, Preprocess, Profile

__all__ = ["FACTS", "changed", "find_profile", "read_profile", "to_toml"]

PARTS = ("shift", "sampling", "preprocess")
MAX_BYTES = 1 << 22


def find_profile(name_or_path: str | os.PathLike[str]) -> Profile:
    """A profile by its name, or from a file that ends in ``.toml`` or ``.json``.

    Raises `UsageError` listing the known names, or for a file that describes no profile.

    >>> find_profile("mit-online").shift.causal
    True
    """
    name = os.fspath(name_or_path)
    if name in PROFILES:
        return PROFILES[name]
    if Path(name).suffix.lower() in (".toml", ".json"):
        return read_profile(name)
    raise UsageError(
        f"there is no profile {name!r}; known are {', '.join(PROFILES)}, or give a .toml or .json "
        "file"
    )


def read_profile(path: str | os.PathLike[str]) -> Profile:
    r"""The profile of a file; raises `UsageError` with the path in one sentence.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mine.toml").write_text('base = "mit"\n[shift]\ndivisor = 4\n')
    ...     read_profile(f"{folder}/mine.toml").shift.divisor
    4
    """
    try:
        if os.path.isfile(path) and os.path.getsize(path) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes are no profile")
        text = Path(path).read_text("utf-8-sig")
        read: Callable[[str], Any] = (
            tomllib.loads if Path(path).suffix.lower() == ".toml" else json.loads
        )
        return _from_tree(read(text))
    except OSError as error:
        raise UsageError(f"{path}: the profile cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: this is not a profile: it is not UTF-8 text") from None
    except RecursionError:
        raise UsageError(f"{path}: this is not a profile: it is nested too deeply") from None
    except (ValueError, CheckpointError) as error:
        said = str(error).removeprefix("this is not a profile: ")
        raise UsageError(f"{path}: this is not a profile: {said}") from None


def _from_tree(tree: Any) -> Profile:
    if not isinstance(tree, dict):
        raise ValueError("it must be an object of fields")
    given = {key: _nothing(value) for key, value in tree.items()}
    base = given.pop("base", None)
    if base is None:
        missing = [part for part in PARTS if part not in given]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}; or name a base, as in base = 'mit'")
        return Profile.from_json(json.dumps(given))
    if base not in PROFILES:
        raise ValueError(f"`base` (={base!r}) must be one of {', '.join(PROFILES)}")
    whole = PROFILES[base].as_dict()
    for key, value in given.items():
        if key in PARTS and isinstance(value, dict):
            if key == "preprocess" and {"size", "short_side"} & set(value):
                value = {"size": None, "short_side": None} | value
            whole[key] = whole[key] | value
        else:
            whole[key] = value
    return Profile.from_json(json.dumps(whole))


def _nothing(value: Any) -> Any:
    """The value with None where it says "none" inside a table."""
    if isinstance(value, dict):
        return {
            k: None if v == "none" and k in ("size", "short_side", "crop") else v
            for k, v in value.items()
        }
    return value


def to_toml(profile: Profile, notes: Mapping[str, str] | None = None) -> str:
    """The profile as a TOML file to edit; `notes` are comments by field, such as "shift.rule".

    >>> import tomllib
    >>> _from_tree(tomllib.loads(to_toml(PROFILES["mmaction2"]))) == PROFILES["mmaction2"]
    True
    """
    notes, tree = notes or {}, profile.as_dict()
    lines = [
        _toml_line(key, value, notes.get(key)) for key, value in tree.items() if key not in PARTS
    ]
    for part in PARTS:
        lines += ["", f"[{part}]"]
        lines += [_toml_line(k, v, notes.get(f"{part}.{k}")) for k, v in tree[part].items()]
    return "\n".join(lines) + "\n"


def _toml_line(key: str, value: Any, note: str | None) -> str:
    comment = f"  # {' '.join(note.split())}" if note else ""
    return f"{key} = {_toml_value(value)}{comment}"


def _toml_value(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(v) for v in value)}]"
    if isinstance(value, str):  # a TOML text escapes as JSON does, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return repr(value)


# One fact at a time

FACTS = (
    *("segments", "fold_div", "frame_depth", "size", "crop", "mean", "std", "bgr", "average"),
    *("multi_label", "threshold"),
)
"""The facts that `changed` sets, by the names of their options."""


def changed(profile: Profile, **facts: Any) -> Profile:
    """A profile of which single facts are set; what is None stays.

    ``segments`` frames per clip; ``fold_div`` the divisor of the shift; ``frame_depth`` the
    frames within which TS-CAN shifts; ``size`` the short side in
    pixels, or "HxW" to stretch the whole frame; ``crop`` "H", "HxW" or "none"; ``mean`` and ``std``
    three numbers, of pixels in 0..1, or in 0..255 where a mean is above 1; ``bgr`` True or False;
    ``average`` "logits" or "probabilities"; ``multi_label`` True where each class has a sigmoid,
    and ``threshold`` the probability from which on it is said.

    Raises `UsageError` naming the option.

    >>> changed(PROFILES["mit"], segments=16, crop="112", size="128").preprocess.crop
    (112, 112)
    """
    unknown = [name for name in facts if name not in FACTS]
    if unknown:
        raise UsageError(f"there is no fact {unknown[0]!r}; there are {', '.join(FACTS)}")
    given = {name: value for name, value in facts.items() if value is not None}
    try:
        if "segments" in given:
            sampling = replace(profile.sampling, segments=given["segments"])
            profile = replace(profile, sampling=sampling)
        if "fold_div" in given:
            profile = replace(profile, shift=replace(profile.shift, divisor=given["fold_div"]))
        if "frame_depth" in given:
            shift = replace(profile.shift, segment=given["frame_depth"])
            profile = replace(profile, shift=shift)
        for name in ("average", "multi_label", "threshold"):
            if name in given:
                profile = replace(profile, **{name: given[name]})
        return replace(profile, preprocess=_prepared(profile.preprocess, given))
    except ValueError as error:
        raise UsageError(_by_option(str(error))) from None


def _by_option(sentence: str) -> str:
    """A sentence about a field, about the option that sets it."""
    for field, option in (
        ("divisor", "fold-div"),
        ("segment", "frame-depth"),
        ("short_side", "size"),
    ):
        sentence = sentence.replace(f"`{field}`", f"`{option}`")
    return re.sub(r"^`([\w-]+)`", r"--\1", sentence)


def _prepared(spec: Preprocess, given: Mapping[str, Any]) -> Preprocess:
    if "bgr" in given:
        spec = replace(spec, channel_order="bgr" if given["bgr"] else "rgb")
    if "size" in given:
        spec = _sized(spec, *_pixels("size", given["size"]), keep_crop="crop" in given)
    if "crop" in given:
        crop = None if given["crop"] == "none" else _pixels("crop", given["crop"])
        spec = replace(spec, crop=None if crop is None else (crop[0], crop[-1]))
    if "size" in given or "crop" in given:
        _check_crop(spec)
    return _normalised(spec, given)


def _check_crop(spec: Preprocess) -> None:
    """Raise `ValueError` where more would be cut out of a frame than there is."""
    if spec.crop is None:
        return
    short = spec.short_side or 0
    fits = min(spec.crop) <= short
    if spec.size is not None:
        fits = spec.crop[0] <= spec.size[0] and spec.crop[1] <= spec.size[1]
    if not fits:
        raise ValueError(
            f"--crop {_spoken(spec.crop)} is larger than the frame of --size "
            f"{_spoken(spec.size or (short,))}: give both"
        )


def _sized(spec: Preprocess, *sides: int, keep_crop: bool) -> Preprocess:
    if len(sides) == 1:
        return replace(spec, short_side=sides[0], size=None)
    crop = spec.crop if keep_crop else None
    return replace(spec, short_side=None, size=(sides[0], sides[1]), crop=crop)


def _normalised(spec: Preprocess, given: Mapping[str, Any]) -> Preprocess:
    """Mean and deviation, and the range of pixels that they are meant for."""
    if "mean" in given:
        spec = replace(spec, mean=_three("mean", given["mean"]))
    if "std" in given:
        spec = replace(spec, std=_three("std", given["std"]))
    if "mean" not in given or not any(spec.mean):
        return spec
    scale = 1.0 if max(abs(value) for value in spec.mean) > 1 else 1 / 255
    if (scale == 1.0) != (spec.scale == 1.0) and "std" not in given:
        raise ValueError("--mean is of another range of pixels than --std: give both")
    return replace(spec, scale=scale)


def _pixels(option: str, text: str | int) -> tuple[int, ...]:
    found = re.fullmatch(r"(\d{1,4})(?:[xX](\d{1,4}))?", str(text))
    if not found:
        raise ValueError(f"--{option} (={text!r}) must be pixels, as 224, or HxW, as 224x320")
    return tuple(int(side) for side in found.groups() if side)


def _three(option: str, value: Any) -> tuple[float, float, float]:
    parts = value.split(",") if isinstance(value, str) else list(value)
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3:
        raise ValueError(f"--{option} (={value!r}) must be three numbers, as 0.485,0.456,0.406")
    return numbers


def _spoken(sides: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in dict.fromkeys(sides))
