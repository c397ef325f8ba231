"""What wraps a network in a file: prefixes, keys, lists, modules; found by structure, shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import mit, mmaction2, resnet, tensors_of
from tests.checkpoint.torch_writer import Pickle, Raw, name, text, zip_file
from tsm_ref.checkpoint import Checkpoint, load_checkpoint
from tsm_ref.errors import CheckpointError
from tsm_ref.models import random_weights

FILE = "TSM_x_RGB_resnet18_shift8_blockres_avg_segment8_e5.pth"
GRAPH = resnet()


def bare() -> dict[str, Any]:
    """The tensors of MIT's network without the prefix of data-parallel training."""
    tensors = tensors_of(GRAPH, mit(GRAPH))
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def load(folder: Path, tree: Any, **options: Any) -> Checkpoint:
    path = folder / FILE
    path.write_bytes(zip_file(tree))
    return load_checkpoint(path, options=options)


def is_right(found: Checkpoint, times: float = 1) -> None:
    assert found.graph.nodes == GRAPH.nodes
    assert found.warnings == ()
    for key, value in random_weights(GRAPH, seed=4).items():
        np.testing.assert_array_equal(found.weights[key], value * times)


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "module.module.", "_orig_mod.", "_orig_mod.module.", "model.", "net.",
     "backbone.", "model.backbone.", "student.encoder.", "_forward_module.model."],
)  # fmt: skip
def test_what_stands_in_front_of_names(tmp_path: Path, prefix: str) -> None:
    found = load(tmp_path, {"state_dict": {prefix + k: v for k, v in bare().items()}})
    is_right(found)
    assert (f"prefix: {prefix}" in found.remarks) == bool(prefix)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        *(
            lambda s, key=key: {"epoch": 3, key: s}
            for key in ("state_dict", "model", "net", "weights", "network", "model_state",
                        "encoder", "model_state_dict", "params", "whatever")
        ),
        lambda s: {"checkpoint": {"model": s, "epoch": 3}},
        lambda s: [(7, s)],
        lambda s: (7, s),
        lambda s: {"history": [1.0, 2.0], "states": [s]},
    ],
)  # fmt: skip
def test_where_the_tensors_are_kept(tmp_path: Path, wrap: Any) -> None:
    is_right(load(tmp_path, wrap(bare())))


def test_a_lightning_checkpoint(tmp_path: Path) -> None:
    state = {f"model.{k}": v for k, v in bare().items()}
    state["criterion.weight"] = np.ones(5, np.float32)
    state["train_accuracy.tp"] = np.array(3)
    optimizer = {"state": {0: {"exp_avg": np.ones(3, np.float32)}}, "param_groups": [{"lr": 0.1}]}
    tree = {
        "epoch": 2, "global_step": 100, "pytorch-lightning_version": "2.1.0", "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}}, "optimizer_states": [optimizer],
        "callbacks": {"ModelCheckpoint": {"best": np.ones(2, np.float32)}},
        "hyper_parameters": {"lr": 0.1, "backbone": "resnet18"},
    }  # fmt: skip
    found = load(tmp_path, tree)
    is_right(found)
    assert "tensors beside the network: 'criterion.weight', 'train_accuracy.tp'" in found.remarks
    assert found.extra["epoch"] == "2"


def doubled() -> dict[str, Any]:
    return {key: value * 2 for key, value in bare().items()}


def joined(**sets: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{k}": v for prefix, tensors in sets.items() for k, v in tensors.items()}


@pytest.mark.parametrize(
    "tree",
    [
        lambda: {"state_dict": bare(), "state_dict_ema": doubled()},
        lambda: {"model": bare(), "model_ema": {"module": doubled()}},
        lambda: joined(net=bare(), ema_net=doubled()),
    ],
)  # fmt: skip
def test_of_weights_and_their_average_the_weights_are_taken(tmp_path: Path, tree: Any) -> None:
    found = load(tmp_path, tree())
    is_right(found)
    assert any(remark.startswith("other weights: ") for remark in found.remarks)
    is_right(load(tmp_path, tree(), weights="ema"), 2)


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (lambda: {"teacher": bare(), "student": doubled()}, ("teacher", "student")),
        (lambda: [(1, bare()), (2, doubled())], ("0.1", "1.1")),
        (
            lambda: joined(a=bare(), b=doubled()),
            ("a", "b"),
        ),
    ],
)  # fmt: skip
def test_between_two_networks_nothing_is_guessed(
    tmp_path: Path, refused: Any, tree: Any, names: tuple[str, str]
) -> None:
    first, second = names
    with refused(CheckpointError, "2 networks", f"--weights {first} or --weights {second}"):
        load(tmp_path, tree())
    is_right(load(tmp_path, tree(), weights=second), 2)
    with refused(CheckpointError, "there are no weights 'other'", first, second):
        load(tmp_path, tree(), weights="other")


def test_what_is_nested_too_deep_is_not_found(tmp_path: Path, refused: Any) -> None:
    tree: Any = bare()
    for _ in range(40):
        tree = {"a": tree}
    with refused(CheckpointError, "no tensors by name"):
        load(tmp_path, tree)


# Whole modules


class Modules(Pickle):
    """Writes a tree of modules as ``torch.save(module)`` does: classes by name, and states."""

    def module(self, tensors: dict[str, Any]) -> bytes:
        own = {k: v for k, v in tensors.items() if "." not in k}
        inner: dict[str, dict[str, Any]] = {}
        for key, value in tensors.items():
            head, dot, rest = key.partition(".")
            if dot:
                inner.setdefault(head, {})[rest] = value
        buffers = {k: v for k, v in own.items() if k.startswith(("running", "num_"))}
        parameters = {k: v for k, v in own.items() if k not in buffers}
        children = b"".join(text(k) + self.module(v) for k, v in inner.items())
        state = b"}(" + text("training") + b"\x89"
        state += text("_parameters") + self.value(parameters)
        state += text("_buffers") + self.value(buffers)
        state += text("_modules") + b"}(" + children + b"u"
        state += text("_forward_hooks") + name("mine.hooks", "Hooks") + b")\x81" + b"u"
        return name("mine.networks", "Block") + b")\x81" + state + b"b"


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_module_that_was_pickled_whole(tmp_path: Path, wrapped: bool) -> None:
    pickle = Modules()
    code = pickle.module({f"module.{k}": v for k, v in bare().items()})
    code = b"}" + text("model") + code + b"s" if wrapped else code
    members = {f"data/{i}": s.tobytes() for i, s in enumerate(pickle.storages)}
    path = tmp_path / FILE
    path.write_bytes(zip_file(Raw(b"\x80\x02" + code + b"."), members))
    found = load_checkpoint(path)
    is_right(found)
    assert any("'mine.networks.Block'" in remark for remark in found.remarks)


def test_modules_that_share_modules_are_bounded(tmp_path: Path, refused: Any) -> None:
    """Forty modules, each twice in the next one: names without end."""
    tables = text("_parameters") + b"}" + text("_buffers") + b"}" + text("_modules")
    code = name("x", "Y") + b"q\x000" + b"N"
    for _ in range(40):
        code += (
            b"q\x010h\x00)\x81}(" + tables + b"}(" + text("a") + b"h\x01" + text("b") + b"h\x01uub"
        )
    path = tmp_path / FILE
    path.write_bytes(zip_file(Raw(b"\x80\x02" + code + b".")))
    with refused(CheckpointError, "made of more than 100000 modules"):
        load_checkpoint(path)


def test_mmaction2_under_a_prefix(tmp_path: Path) -> None:
    tensors = {f"module.{k}": v for k, v in tensors_of(GRAPH, mmaction2(GRAPH)).items()}
    found = load(tmp_path, {"state_dict": tensors})
    is_right(found)
    assert found.profile.family == "mmaction2"
