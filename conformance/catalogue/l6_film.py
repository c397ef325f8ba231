"""L6: a video file in, JSON out: decoding, sampling, preprocessing, the network, the labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.catalogue.l5_frames import bounded_pixels
from conformance.exchange.schemas import Invalid, check
from conformance.questions import film, pixels
from conformance.questions.arrays import Array
from conformance.questions.case import Call, Problem, Question, Setting, case
from conformance.questions.conventions import plain
from conformance.questions.data import draw_weights, resnet_shapes
from conformance.questions.judges import Finding, Key, VacuousCase
from conformance.questions.oracle import Oracle
from tsm_ref.reference.bounded import Bounded

CLASSES = 5
RULE = "decode, sample, preprocess, run, softmax, average as the profile says"


@dataclass(frozen=True)
class Recognition:
    """The frames exactly, every probability within its bound, classes in falling order."""

    frames: Array
    probabilities: Bounded
    output: str = "result"
    expects_refusal: bool = False
    may_refuse: bool = False

    def judge(self, outputs: Mapping[str, Any]) -> Finding:
        """Compare the JSON with the oracle."""
        try:
            check("result", outputs.get(self.output))
        except Invalid as error:
            return Finding(f"the result is not as the schema says: {error}")
        told = outputs[self.output]
        if told["frames"] != self.frames.tolist():
            return Finding(f"the frames are {told['frames']}; {self.frames.tolist()} are right")
        classes = [entry["index"] for entry in told["predictions"]]
        if sorted(classes) != list(range(CLASSES)):
            need = f"each of the {CLASSES} is needed once"
            return Finding(f"there are predictions for {sorted(classes)}; {need}")
        listed = [entry["probability"] for entry in told["predictions"]]
        if listed != sorted(listed, reverse=True):
            return Finding("the predictions are not in falling order of probability")
        return self._close(np.array(listed)[np.argsort(classes)])

    def nearness(self, actual: Any, other: Any) -> bool:
        """Equal frames, classes in one order, and probabilities within twice the bound."""
        try:
            check("result", actual)
        except Invalid:
            return False
        if actual["frames"] != other["frames"]:
            return False
        lists = [told["predictions"] for told in (actual, other)]
        if [p["index"] for p in lists[0]] != [p["index"] for p in lists[1]]:
            return False
        limit = 2 * float(np.max(self.probabilities.tolerance())) + 1e-6
        pairs = zip(*lists, strict=True)
        return all(abs(a["probability"] - b["probability"]) <= limit for a, b in pairs)

    def key(self) -> Key:
        """The frames, and the probabilities by class."""
        probabilities = {"expected": self.probabilities.value, "tolerance": self._tolerance()}
        return Key("recognition", {"frames": self.frames, **probabilities})

    def _tolerance(self) -> Array:
        # The file may hold no more digits than a reader needs.
        return np.asarray(self.probabilities.tolerance() + 5e-7)

    def _close(self, y: Array) -> Finding:
        tolerance = self._tolerance()
        share = np.abs(y - self.probabilities.value) / tolerance
        used = float(share.max())
        worst = int(np.argmax(share))
        if used <= 1:
            return Finding("", used, 0.0, (worst,))
        right = self.probabilities.value[worst]
        return Finding(
            f"the probability of class {worst} is {y[worst]:.7f}; {right:.7f} is right", used
        )


@case(
    "L6.film.short",
    operation="recognize",
    architecture="resnet",
    formula=RULE,
    defect="any step of the chain, or one step too many",
    costly=True,
)
def short(s: Setting) -> Problem:
    """A film of 11 frames, fewer than two per segment."""
    return question(s, 11, 54, 40)


@case(
    "L6.film.long",
    "SHOULD",
    operation="recognize",
    architecture="resnet",
    formula=RULE,
    defect="frames are lost, the colours are swapped, or the picture stands on its head",
    costly=True,
)
def long(s: Setting) -> Problem:
    """A film of 70 frames that is higher than wide."""
    return question(s, 70, 40, 62)


def question(s: Setting, length: int, width: int, height: int) -> Problem:
    """A film of moving colours through a small network."""
    p = s.conventions
    weights = draw_weights(s.rng, resnet_shapes("basic", (1, 1), 16, CLASSES, 3))
    network = {
        "architecture": "resnet",
        "block": "basic",
        "blocks": [1, 1],
        "width": 16,
        "stem_kernel": 3,
        "stem_pool": False,
        "classes": CLASSES,
        "shifted": True,
        "fold_div": p.fold_div,
        "placement": p.placement,
    }
    names = [
        "resize",
        "long_side",
        "crop_offset",
        "channel_order",
        "scale",
        "mean",
        "std",
        "average",
    ]
    how = {name: plain(getattr(p, name)) for name in names}
    how |= {"short_side": 24, "crop": [20, 20], "segments": 6, "policy": p.policy}
    frames = moving(s, length, height, width)
    indices = pixels.sample_frames(p.policy, length, 6)
    clips = np.concatenate([pixels.preprocess(frames[row], how) for row in indices])
    probabilities = expected(s, clips, weights, network, how)
    inputs = {"film": np.frombuffer(film.avi(frames), np.uint8)}
    inputs |= {f"weights/{name}": value for name, value in weights.items()}
    call = Call("recognize", inputs, network | how)
    return Problem((Question(call, Recognition(indices, probabilities)),))


def expected(s: Setting, clips: Array, weights: Any, network: Any, how: Any) -> Bounded:
    """The probabilities of the oracle, averaged over the clips as the profile says."""
    oracle = Oracle(s.conventions, s.u)
    parts = [bounded_pixels(s.u, clip[None], how["mean"], how["std"]) for clip in clips]
    x = Bounded(*(np.concatenate([getattr(b, f) for b in parts]) for f in ("value", "variance")))
    logits = oracle.network(x, weights, **network)
    first, last = _over_clips(oracle), oracle.softmax
    if how["average"] == "probabilities":
        first, last = last, first
    found: Bounded = oracle.moved(last(first(logits)), lambda v: v[0])
    if found.value.max() > 0.98:
        raise VacuousCase("one class has all the probability")
    return found


def moving(s: Setting, length: int, height: int, width: int) -> Array:
    """A film in which a bright square moves over a drifting ground of three levels."""
    t = np.arange(length)[:, None, None]
    y, x = np.mgrid[:height, :width]
    ground = np.stack(
        [(3 * x + 7 * t) % 97, (5 * y + 2 * x + 3 * t) % 131 + 60, (2 * y + 5 * t) % 71 + 150], -1
    )
    inside = (abs(x - (5 * t) % width) < 7) & (abs(y - (3 * t) % height) < 6)
    ground[inside] = (250, 20, 90)
    return ground.astype(np.uint8)


def _over_clips(oracle: Oracle) -> Any:
    """(clips, K) -> (1, K): the mean over clips."""
    return lambda v: oracle.consensus(oracle.moved(v, lambda a: a.T[None]))
