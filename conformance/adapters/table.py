"""The public implementations: what is judged of each, by which conventions, and what it means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conformance.adapters import frameworks, online, pytorch, recognizers
from conformance.adapters.taking import checkout, take

GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Public:
    """One implementation, or one part of one.

    ``home`` is where it is fetched from: a repository, which is cloned under its own name into the
    folder of checkouts, or a package (``pip install NAME``). ``meaning`` says what to know about
    weights that were trained with it.
    """

    name: str
    title: str
    home: str
    licence: str
    profile: str
    levels: str
    make: Callable[..., Any]
    meaning: str

    @property
    def is_package(self) -> bool:
        """Whether it is installed with pip and not cloned."""
        return not self.home.startswith(GITHUB)

    def testee(self) -> Any:
        """The object that answers; raises what importing it raises."""
        return self.make(name=self.title, profile=self.profile)


def _mit(**told: Any) -> Any:
    file = checkout("temporal-shift-module") / "ops" / "temporal_shift.py"
    found = take(file, ["TemporalShift", "TemporalPool"], pytorch.namespace())
    shift, pool = found.TemporalShift.shift, found.TemporalPool.temporal_pool
    return pytorch.ShiftAndPool(shift, pool, **told)


def _file(*parts: str) -> Callable[[], Any]:
    return lambda: checkout(parts[0]).joinpath(*parts[1:])


def _shift(kind: Callable[..., Any], cls: str, *parts: str) -> Callable[..., Any]:
    return lambda **told: kind(_file(*parts)(), cls, **told)


def _demo(folder: str) -> Callable[..., Any]:
    return lambda **told: online.OnlineDemo(
        checkout(folder) / "online_demo" / "mobilenet_v2_tsm.py", **told
    )


def _ts_can(**told: Any) -> Any:
    file = checkout("rPPG-Toolbox") / "neural_methods" / "model" / "TS_CAN.py"
    module = take(file, ["Attention_mask", "TSM", "TSCAN"], pytorch.namespace())
    return pytorch.TsCan(module, **told)


def _mtts_can(**told: Any) -> Any:
    return frameworks.KerasTsCan(checkout("MTTS-CAN") / "code" / "model.py", **told)


def _paddle(**told: Any) -> Any:
    return frameworks.Paddle(**told)


def _open_rppg(**told: Any) -> Any:
    return frameworks.open_rppg(checkout("open-rppg") / "rppg" / "models.py", **told)


def _mmv(**told: Any) -> Any:
    file = checkout("deepmind-research") / "mmv" / "models" / "tsm_utils.py"
    return frameworks.mmv(file, **told)


def _mit_network(architecture: str) -> Callable[..., Any]:
    return lambda **told: recognizers.Recognizer(
        checkout("temporal-shift-module"), architecture, **told
    )


def _autovideo_network(**told: Any) -> Any:
    folder = checkout("autovideo") / "autovideo" / "recognition"
    return recognizers.AutoVideo(folder, "resnet", **told)


def _continual(**told: Any) -> Any:
    return online.Continual(**told)


TABLE = (
    Public(
        "mit",
        "MIT temporal-shift-module",
        GITHUB + "mit-han-lab/temporal-shift-module",
        "MIT",
        "mit",
        "L1",
        _mit,
        "The origin of the conventions `mit`. Its temporal pool merges frames as if their number "
        "were even, so a network with it takes 8 or 16 segments, and no odd number.",
    ),
    Public(
        "mit-resnets",
        "MIT networks, ResNets",
        GITHUB + "mit-han-lab/temporal-shift-module",
        "MIT",
        "mit",
        "L4",
        _mit_network("resnet"),
        "The networks of which weights are published: its `TSN` puts the shifts into torchvision's "
        "blocks.",
    ),
    Public(
        "mit-mobilenet",
        "MIT networks, MobileNetV2",
        GITHUB + "mit-han-lab/temporal-shift-module",
        "MIT",
        "mit",
        "L4",
        _mit_network("mobilenet_v2"),
        "Its `TSN` reads an attribute `print_spec` that it never sets, so that a shifted "
        "MobileNetV2 cannot be made as it stands; it is judged with that attribute set.",
    ),
    Public(
        "mit-online",
        "MIT online demo, MobileNetV2",
        GITHUB + "mit-han-lab/temporal-shift-module",
        "MIT",
        "online",
        "S",
        _demo("temporal-shift-module"),
        "Reads the past in the first eighth of the channels, where the offline module reads the "
        "future: its weights were trained in one direction, and offline weights are wrong in it.",
    ),
    Public(
        "mmaction2",
        "MMAction2",
        GITHUB + "open-mmlab/mmaction2",
        "Apache-2.0",
        "mmaction2",
        "L0",
        _shift(pytorch.static_shift, "TemporalShift", "mmaction2", "mmaction", "models",
               "backbones", "resnet_tsm.py"),
        "Weights are interchangeable with `mit`. Its zeros are made as x - x: one NaN or infinity "
        "in a frame spreads to the fill, so a broken frame spoils its neighbours.",
    ),
    Public(
        "rppg-toolbox",
        "rPPG-Toolbox, TS-CAN",
        GITHUB + "ubicomplab/rPPG-Toolbox",
        "Responsible AI Source Code License",
        "rppg-toolbox",
        "L4",
        _ts_can,
        "Flattens pictures with channels first: the first dense layer of a Keras TS-CAN must be "
        "reordered to fit. The shift stays within windows of `frame_depth` frames.",
    ),
    Public(
        "efficientphys",
        "rPPG-Toolbox, EfficientPhys",
        GITHUB + "ubicomplab/rPPG-Toolbox",
        "Responsible AI Source Code License",
        "rppg-toolbox",
        "L0",
        _shift(pytorch.module_shift, "TSM", "rPPG-Toolbox", "neural_methods", "model",
               "EfficientPhys.py"),
        "The same shift as in TS-CAN.",
    ),
    Public(
        "bigsmall",
        "BigSmall, WTSM",
        GITHUB + "girishvn/BigSmall",
        "see its repository",
        "circular,fold_div=3",
        "L0",
        _shift(pytorch.module_shift, "WTSM", "BigSmall", "code", "neural_methods", "model",
               "BigSmall_models.py"),
        "Circular on purpose: what leaves the clip comes back at its other end. Weights of any "
        "zero-filled shift see other numbers in the first and the last frame.",
    ),
    Public(
        "open-rppg",
        "open-rppg, TS-CAN",
        GITHUB + "KegangWangCCNU/open-rppg",
        "MIT",
        "replicate",
        "L0",
        _open_rppg,
        "The first and the last frame keep their own values where others put zeros: weights that "
        "were trained with zeros see other numbers at both ends of every window.",
    ),
    Public(
        "mmv",
        "DeepMind MMV",
        GITHUB + "google-deepmind/deepmind-research",
        "Apache-2.0",
        "past-first",
        "L0",
        _mmv,
        "The fold that reads the past comes from the first channels and is put last, and the one "
        "that reads the future the other way round: no profile says that, and weights of others "
        "must have the channels of every convolution behind a shift reordered. Fewer channels than "
        "its divisor leave no channel at all.",
    ),
    Public(
        "mtts-can",
        "MTTS-CAN, Keras",
        GITHUB + "xliucs/MTTS-CAN",
        "MIT",
        "mtts-can",
        "L1",
        _mtts_can,
        "The origin of the conventions `mtts-can`: a third of the channels each way, pictures "
        "flattened with channels last.",
    ),
    Public(
        "jiamingno1",
        "jiamingNo1 Temporal-Shift-Module",
        GITHUB + "jiamingNo1/Temporal-Shift-Module",
        "none given",
        "mit",
        "L0",
        _shift(pytorch.static_shift, "TemporalShift", "Temporal-Shift-Module", "ops",
               "temporal_shift.py"),
        "Weights are interchangeable with `mit`.",
    ),
    Public(
        "jiamingno1-online",
        "jiamingNo1 online demo, streaming weights of its own offline form",
        GITHUB + "jiamingNo1/Temporal-Shift-Module",
        "none given",
        "mit,causal=none+past",
        "S",
        _demo("Temporal-Shift-Module"),
        "It streams the network that it trains in both directions: the channels that hold the past "
        "in its stream held the future when the weights were made. The logits are wrong.",
    ),
    Public(
        "zjcv",
        "ZJCV/TSM",
        GITHUB + "ZJCV/TSM",
        "Apache-2.0",
        "mit",
        "L0",
        _shift(pytorch.static_shift, "TemporalShift", "TSM", "tsn", "model", "recognizers",
               "temporal_shift.py"),
        "Weights are interchangeable with `mit`.",
    ),
    Public(
        "autovideo",
        "AutoVideo",
        GITHUB + "datamllab/autovideo",
        "MIT",
        "mit",
        "L0",
        _shift(pytorch.static_shift, "TemporalShift", "autovideo", "autovideo", "recognition",
               "tsm_utils", "temporal_shift.py"),
        "The shift is that of `mit`, and weights that it trains from its own start fit there.",
    ),
    Public(
        "autovideo-pretrained",
        "AutoVideo, network with pretrained weights",
        GITHUB + "datamllab/autovideo",
        "MIT",
        "mit",
        "L4",
        _autovideo_network,
        "Where pretrained weights are asked for, the network is built without shifts (`is_shift` "
        "is left at False): TSM weights run as a TSN, and only what has no shift is right.",
    ),
    Public(
        "x-temporal",
        "X-Temporal",
        GITHUB + "Sense-X/X-Temporal",
        "MIT",
        "mit",
        "L0",
        _shift(pytorch.static_shift, "TemporalShift", "X-Temporal", "x_temporal", "core", "tsm.py"),
        "Weights are interchangeable with `mit`.",
    ),
    Public(
        "tensorleap",
        "Tensorleap temporal-shift",
        GITHUB + "Tensorleap-hub/temporal-shift",
        "see its repository",
        "mit",
        "L0",
        _shift(pytorch.static_shift, "TemporalShift", "temporal-shift", "ops",
               "temporal_shift.py"),
        "Weights are interchangeable with `mit`.",
    ),
    Public(
        "paddle",
        "PaddlePaddle temporal_shift",
        "paddlepaddle",
        "Apache-2.0",
        "paddle",
        "L0",
        _paddle,
        "The past comes first, and the second fold may be one channel larger. On a clip that is "
        "reversed in time, weights of equal folds give what they give in `mit`.",
    ),
    Public(
        "continual",
        "continual-inference, a shift of its Delay",
        "continual-inference",
        "Apache-2.0",
        "online",
        "S",
        _continual,
        "The state that it hands out is the buffer that it goes on writing: whoever keeps one must "
        "copy it.",
    ),
)  # fmt: skip
"""Every implementation that is judged."""


def find(name: str) -> Public:
    """An implementation by its short name."""
    return next(entry for entry in TABLE if entry.name == name)


def __getattr__(name: str) -> Any:
    """``py:conformance.adapters.table:NAME`` is the testee of that name."""
    if name.startswith("__") or not any(entry.name == name.replace("_", "-") for entry in TABLE):
        raise AttributeError(name)
    return find(name.replace("_", "-")).testee()
