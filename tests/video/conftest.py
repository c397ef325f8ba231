"""Clips for the tests of the video room: written by PyAV into a temporary folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def picture(index: int, height: int = 32, width: int = 48) -> np.ndarray:
    """An RGB picture without any symmetry, whose red corner patch tells the frame's index."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([x * 3, y * 5, (x + 2 * y + 7 * index)], axis=-1).astype(np.uint8)
    image[: height // 4, : width // 4] = (index, 255 - index, 128)
    return image


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip: name, then codec, pixel format, pictures or their number, rate and more."""
    av = pytest.importorskip("av")

    def make(
        name: str,
        pictures: int | Sequence[np.ndarray] = 10,
        *,
        codec: str = "png",
        pix_fmt: str = "rgb24",
        rate: int = 25,
        times: Sequence[int] | None = None,
        rotation: tuple[float, bool, bool] | None = None,
        container: dict[str, str] | None = None,
        codec_options: dict[str, str] | None = None,
        **context: Any,
    ) -> Path:
        path = tmp_path / name
        images = [picture(i) for i in range(pictures)] if isinstance(pictures, int) else pictures
        with av.open(str(path), "w", options=container or {}) as output:
            stream = output.add_stream(codec, rate=rate, options=codec_options or {})
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = pix_fmt
            for key, value in context.items():
                setattr(stream.codec_context, key, value)
            if rotation is not None:
                if not hasattr(stream, "set_display_rotation"):
                    pytest.skip("this PyAV cannot write a display matrix")
                stream.set_display_rotation(*rotation)
            for index, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame = frame.reformat(format=pix_fmt)
                if times is not None:
                    frame.pts = times[index]
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path

    return make
