"""What is asked of a model instead of what its profile says: other windows, clips and crops."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tsm_ref.errors import UsageError
from tsm_ref.profile import PROFILES, Preprocess, Profile, Sampling
from tsm_ref.video.transforms import full_resolution

__all__ = ["CROPS", "as_usage", "sampled"]

CROPS = {1: "center", 3: "three", 5: "five", 10: "ten"}
"""How many crops of each frame, and what the preprocessing calls them."""


def sampled(
    profile: Profile,
    *,
    policy: str | None = None,
    crops: int | None = None,
    window: float | None = None,
    stride: float | None = None,
    like: str | None = None,
) -> Profile:
    """A profile that samples and crops otherwise; what is None stays as it was.

    ``window`` and ``stride`` (seconds) imply the policy ``windows``; ``stride`` is half a window
    unless given, and a ``window`` that is given is the only length, seen once. 3 crops are as high
    as the frame, 5 and 10 are corners, centre and mirror images. ``like`` names the profile whose
    arithmetic resizes and cuts: how pixels are interpolated, and how sides and offsets are rounded;
    a model that sees the whole frame, stretched, goes on as it does.

    Raises `UsageError` for a combination that cannot be.

    >>> from tsm_ref.profile import PROFILES
    >>> sampled(PROFILES["mit"], policy="dense", crops=3).preprocess.crop
    (256, 256)
    """
    sampling, spec = profile.sampling, profile.preprocess
    if like is not None and spec.short_side is not None:
        theirs = PROFILES[like].preprocess
        spec = replace(
            spec,
            resize=theirs.resize,
            long_side=theirs.long_side,
            crop_offset=theirs.crop_offset,
        )
    try:
        if window is not None or stride is not None or policy == "windows":
            if policy not in (None, "windows"):
                raise ValueError(f"`policy` (={policy!r}) cannot be combined with a window")
            fixed = window
            window = sampling.window or 1.0 if window is None else window
            stride = window / 2 if stride is None else stride
            sampling = replace(sampling, policy="windows", window=window, stride=stride)
            if fixed is not None:
                sampling = replace(sampling, longest=0.0, finer=1)
        elif policy is not None:
            sampling = Sampling(policy, sampling.segments)
        if crops is not None:
            spec = _cropped(spec, crops)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return replace(profile, sampling=sampling, preprocess=spec)


def _cropped(spec: Preprocess, crops: int) -> Preprocess:
    if crops not in CROPS:
        raise ValueError(f"`crops` (={crops}) must be one of {tuple(CROPS)}")
    if spec.crop is None:
        if crops == 1:
            return spec
        raise ValueError(f"`crops` (={crops}) must be 1: the model sees the whole frame")
    return full_resolution(spec) if crops == 3 else replace(spec, crops=CROPS[crops])


@contextmanager
def as_usage() -> Iterator[None]:
    """A rule of sampling that cannot be followed is a mistake of whoever asked for it."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from None
