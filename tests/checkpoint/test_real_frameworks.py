"""Files that the frameworks themselves write, where they are installed: read as they were meant."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.checkpoint.tensors.renamed_networks import (
    BOTTLENECK,
    mit,
    mmaction2,
    paddle,
    resnet,
    tensors_of,
)
from tests.checkpoint.tensors.test_mmengine import CONFIG
from tsm_ref.checkpoint import Checkpoint, load_checkpoint
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import random_weights
from tsm_ref.profile import ShiftRule

pytestmark = pytest.mark.filterwarnings("ignore")
NAME = "TSM_x_RGB_resnet18_shift8_blockres_avg_segment8_e5"
GRAPH = resnet()


def is_right(found: Checkpoint, graph: Graph = GRAPH, within: float = 0) -> None:
    assert found.graph.nodes == graph.nodes
    assert found.warnings == ()
    for key, value in random_weights(graph, seed=4).items():
        np.testing.assert_allclose(found.weights[key], value, rtol=0, atol=within)


def module(torch: Any, tensors: dict[str, Any]) -> Any:
    """A tree of modules whose ``state_dict`` has these names; it computes nothing."""

    class Block(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x):  # type: ignore[no-untyped-def]
            return x * 1

    root = Block()
    for name, value in tensors.items():
        *path, last = name.split(".")
        place = root
        for part in path:
            if not hasattr(place, part):
                place.add_module(part, Block())
            place = getattr(place, part)
        tensor = torch.tensor(value)
        if last.startswith(("running", "num_batches")):
            place.register_buffer(last, tensor)
        else:
            place.register_parameter(last, torch.nn.Parameter(tensor))
    return root


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def network(torch: Any) -> Any:
    tensors = tensors_of(GRAPH, mit(GRAPH))
    return module(torch, {key.removeprefix("module."): v for key, v in tensors.items()})


def in_training(torch: Any, network: Any) -> dict[str, Any]:
    """What a training script saves after a step: everything, under names of its own."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=0.0)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    return {
        "state_dict": torch.nn.DataParallel(network).state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "path": Path("runs"),
        "rng": np.random.RandomState(0).get_state(),
    }


def averaged(torch: Any, network: Any) -> dict[str, Any]:
    copy = torch.optim.swa_utils.AveragedModel(network)
    return {"model": network.state_dict(), "model_ema": copy.state_dict()}


SAVED = {
    "state dict": lambda torch, net: net.state_dict(),
    "module": lambda torch, net: torch.jit.script(net),
    "compiled": lambda torch, net: torch.compile(net).state_dict(),
    "training": in_training,
    "averaged": averaged,
    "half": lambda torch, net: {k: v.clone() for k, v in net.state_dict().items()},
}


@pytest.mark.parametrize("kind", SAVED)
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_save(torch: Any, network: Any, tmp_path: Path, kind: str, zipped: bool) -> None:
    path = tmp_path / f"{NAME}.pth"
    tree = SAVED[kind](torch, network)
    if kind == "module":
        torch.jit.save(tree, path)
    else:
        torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    is_right(load_checkpoint(path))


def test_a_whole_module_of_torch(torch: Any, tmp_path: Path) -> None:
    """Of classes that can be pickled: those of PyTorch itself."""
    tensors = tensors_of(GRAPH, mit(GRAPH))
    names = {key.removeprefix("module."): value for key, value in tensors.items()}
    root = torch.nn.Module()
    for name, value in names.items():
        *path, last = name.split(".")
        place = root
        for part in path:
            if part not in place._modules:
                place.add_module(part, torch.nn.Module())
            place = place._modules[part]
        if last.startswith(("running", "num_batches")):
            place.register_buffer(last, torch.tensor(value))
        else:
            place.register_parameter(last, torch.nn.Parameter(torch.tensor(value)))
    torch.save(root, tmp_path / f"{NAME}.pt")
    is_right(load_checkpoint(tmp_path / f"{NAME}.pt"))


def test_torch_export(torch: Any, network: Any, tmp_path: Path) -> None:
    program = torch.export.export(network, (torch.zeros(1, 3),))
    torch.export.save(program, tmp_path / f"{NAME}.pt2")
    is_right(load_checkpoint(tmp_path / f"{NAME}.pt2"))


@pytest.mark.parametrize("average", [False, True])
def test_the_runner_of_mmengine(torch: Any, tmp_path: Path, average: bool) -> None:
    """One epoch of the real training loop, with its hooks; the learning rate is 0."""
    mmengine = pytest.importorskip("mmengine")
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    graph = resnet(shift=ShiftRule("mit", 4))
    inner = module(torch, tensors_of(graph, mmaction2(graph)))

    class Recognizer(BaseModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            for name, child in inner.named_children():
                self.add_module(name, child)

        def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
            return {"loss": sum(p.sum() * 0 for p in self.parameters() if p.requires_grad)}

    config = mmengine.Config.fromstring(CONFIG.replace("style='caffe',\n        ", ""), ".py")
    config.work_dir = str(tmp_path)
    hooks = [{"type": "EMAHook"}] if average else []
    runner = Runner(
        Recognizer(),
        work_dir=str(tmp_path),
        train_dataloader=torch.utils.data.DataLoader([{"inputs": torch.zeros(1)}] * 4, 2),
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.0, "momentum": 0.9}},
        param_scheduler=[{"type": "MultiStepLR", "milestones": [1, 2], "gamma": 0.1}],
        custom_hooks=hooks,
        default_scope="mmengine",
        experiment_name=f"x{os.getpid()}{average}",
        cfg=config,
    )
    runner.train()
    found = load_checkpoint(tmp_path / "epoch_1.pth")
    is_right(found, graph, 1e-6 if average else 0)
    facts = {fact.name: fact.source for fact in found.facts}
    assert facts["fold_div"] == "the file (meta.cfg, model)"
    assert any("HistoryBuffer" in remark for remark in found.remarks)
    assert any(remark.startswith("other weights: ema") for remark in found.remarks) == average


def test_paddle_save(tmp_path: Path) -> None:
    framework = pytest.importorskip("paddle")
    graph = resnet(BOTTLENECK, shift=ShiftRule("paddle", 8))
    tensors = {k: framework.to_tensor(v) for k, v in tensors_of(graph, paddle, True).items()}
    for file, wrap in (
        ("TSM_k400_8f.pdparams", lambda state: state),
        ("ppTSM_8f_distilled.pdparams", lambda s: {f"Student.{k}": v for k, v in s.items()}),
        ("TSM_8f_parallel.pdparams", lambda s: {f"_layers.{k}": v for k, v in s.items()}),
    ):
        framework.save(wrap(tensors), str(tmp_path / file))
        is_right(load_checkpoint(tmp_path / file), graph)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_layers_of_keras_that_are_applied_to_each_frame(
    torch: Any, tmp_path: Path, ending: str
) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layers, each = keras.layers, keras.layers.TimeDistributed
    inner = keras.Sequential([
        layers.Input((12, 12, 4)), layers.Conv2D(6, 3, strides=2, padding="same"),
        layers.BatchNormalization(), layers.ReLU(), layers.GlobalAveragePooling2D(),
    ])  # fmt: skip
    x = given = layers.Input((4, 12, 12, 3))
    x = each(layers.Conv2D(4, 3, padding="same", activation="relu"))(x)
    x = layers.Dense(7, activation="tanh")(each(inner)(x))
    x = layers.Dense(5)(layers.GlobalAveragePooling1D()(each(layers.Dropout(0.5))(x)))
    made = keras.Model(given, layers.Activation("softmax")(x))
    clip = np.random.default_rng(0).normal(size=(2, 4, 12, 12, 3)).astype(np.float32)
    expected = np.asarray(made.predict(clip, verbose=0))
    path = tmp_path / f"model{ending}"
    made.save(path)
    found = tsm_ref.load(path, engine="numpy")
    assert found.profile.sampling.segments == 4
    np.testing.assert_allclose(found(clip.transpose(0, 4, 1, 2, 3)), expected, rtol=0, atol=1e-5)
    made.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(CheckpointError, match="save the whole model"):
        tsm_ref.load(tmp_path / "model.weights.h5", profile="tsn")


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_models_of_keras(torch: Any, tmp_path: Path, name: str, ending: str) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    made = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=7)
    made.save(tmp_path / f"m{ending}")
    clip = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    wanted = made.predict(clip, verbose=0)
    found = load_checkpoint(tmp_path / f"m{ending}")
    inputs = {found.graph.inputs[0].name: clip.transpose(0, 3, 1, 2)[:, :, None]}
    given = NumpyEngine(found.graph, found.weights).run(inputs)[found.graph.outputs[0]]
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-6)
