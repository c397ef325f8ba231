"""Small films of a camera that moves over a texture: what a head for own classes is fitted to."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

MOVES: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "static": ((0, 0), (0, 0)),
    "up then down": ((-1, 0), (1, 0)),
    "left then right": ((0, -1), (0, 1)),
    "right all the time": ((0, 1), (0, 1)),
}
"""The direction (y, x) in the first and in the second half of a film."""

SIZE, FRAMES, RATE = 64, 16, 8


def texture(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Smooth coloured noise (size, size, 3) uint8, the same on opposite edges."""
    frequency = np.fft.fftfreq(size)
    distance = np.hypot(frequency[:, None], frequency) + 1 / size
    spectrum = np.fft.fft2(rng.standard_normal((3, size, size))) / distance**1.3
    made = np.real(np.fft.ifft2(spectrum))
    made = (made - made.mean((1, 2), keepdims=True)) / made.std((1, 2), keepdims=True)
    return np.clip(128 + 50 * made, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def film(rng: np.random.Generator, move: str) -> np.ndarray:
    """Frames (T, SIZE, SIZE, 3) uint8 of one move, at a random place, at a random speed."""
    ground, speed = texture(rng), rng.uniform(2.0, 4.0)
    steps = np.repeat(np.array(MOVES[move], float), FRAMES // 2, axis=0)[1:] * speed
    places = rng.uniform(0, 256, 2) + np.concatenate([np.zeros((1, 2)), steps.cumsum(0)])
    rows = (np.arange(SIZE) + places[:, :1].round()).astype(int) % 256
    columns = (np.arange(SIZE) + places[:, 1:].round()).astype(int) % 256
    return ground[rows[:, :, None], columns[:, None, :]]


def write_films(
    folder: Path, count: int, *, seed: int = 0, moves: tuple[str, ...] = tuple(MOVES)
) -> None:
    """A folder for each class with so many films; needs PyAV."""
    import av

    rng = np.random.default_rng(seed)
    for move in moves:
        (folder / move).mkdir(parents=True)
        for index in range(count):
            with av.open(str(folder / move / f"{index}.mov"), "w") as output:
                stream = output.add_stream("png", rate=RATE)
                stream.width = stream.height = SIZE
                stream.pix_fmt = "rgb24"
                for image in film(rng, move):
                    output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                output.mux(stream.encode(None))
