"""Whether a shift of your own is right, and what is wrong if not: python examples/judge.py."""

import numpy as np

import conformance


class Shift:
    """The shift of MIT's TSM on (N*T, C, H, W): an eighth reads the future, one the past."""

    declaration = {"profile": "mit", "capabilities": {"layout": "(NT)CHW"}}

    def temporal_shift(self, x: np.ndarray, segments: int, fold_div: int = 8) -> np.ndarray:
        """The shift itself."""
        clips = x.reshape(-1, segments, *x.shape[1:])
        f, y = clips.shape[2] // fold_div, np.zeros_like(clips)
        y[:, :-1, :f] = clips[:, 1:, :f]
        y[:, 1:, f : 2 * f] = clips[:, :-1, f : 2 * f]
        y[:, :, 2 * f :] = clips[:, :, 2 * f :]
        return y.reshape(x.shape)


conformance.assert_conforms(Shift(), level="L0")
print("right")
