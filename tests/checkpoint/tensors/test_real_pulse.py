"""Networks of a pulse as their own repositories define them, saved by PyTorch and read by us.

``TSM_CONFORMANCE_SOURCES`` names a folder with checkouts of ``rPPG-Toolbox`` and ``BigSmall``.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.adapters.taking import SOURCES, take
from tests.judging import U32, assert_within
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound

TOOLBOX = "rPPG-Toolbox/neural_methods/model"


def of_repository(file: str, *names: str) -> Any:
    """The named classes of a file of a checkout."""
    torch = pytest.importorskip("torch")
    path = Path(os.environ.get(SOURCES, ""), file)
    if not os.environ.get(SOURCES) or not path.exists():
        pytest.skip("no sources of others: TSM_CONFORMANCE_SOURCES does not hold them")
    return take(path, list(names), {"torch": torch, "nn": torch.nn})


def of_theirs(network: Any, folder: Path, *, parallel: bool, **options: Any) -> Any:
    """What we read of the file that they save: half of them do so out of a `DataParallel`."""
    import torch

    saved = torch.nn.DataParallel(network) if parallel else network
    torch.save(saved.state_dict(), folder / "theirs.pth")
    return load_checkpoint(folder / "theirs.pth", options=options)


def random(module: Any, *options: Any, **more: Any) -> Any:
    """A network of theirs in evaluation, with statistics that are not those of a new one."""
    import torch

    torch.manual_seed(3)
    network = module(*options, **more).eval()
    for name, buffer in network.named_buffers():
        if buffer.dtype.is_floating_point:
            buffer.copy_(torch.rand_like(buffer) + (0.5 if name.endswith("var") else -0.5))
    return network


def judge(loaded: Any, clip: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Their float64 output is the oracle's, and both engines are within the derived bound of it."""
    exact = run_oracle(loaded.graph, loaded.weights, clip)
    small = {name: value.astype(np.float32) for name, value in clip.items()}
    bounds = run_with_bound(loaded.graph, loaded.weights, small, U32)
    for head, value in wanted.items():
        np.testing.assert_allclose(exact[head], value, rtol=1e-9, atol=1e-11)
        for engine in ("numpy", "numba"):
            found = make_engine(loaded.graph, loaded.weights, engine).run(small)[head]
            assert_within(found, bounds[head])


def frames(rng: Any, count: int, size: int) -> Any:
    """Frames of a clip, NCTHW, of values that float32 holds exactly."""
    return rng.normal(size=(1, 3, count, size, size)).astype(np.float32).astype(np.float64)


def per_frame(x: Any) -> Any:
    """A clip as PyTorch's frames, (T, C, H, W)."""
    import torch

    return torch.tensor(x[0].swapaxes(0, 1))


@pytest.mark.parametrize(("size", "depth", "parallel"), [(36, 20, False), (72, 10, True)])
def test_ts_can(tmp_path: Path, rng: Any, size: int, depth: int, parallel: bool) -> None:
    module = of_repository(f"{TOOLBOX}/TS_CAN.py", "Attention_mask", "TSM", "TSCAN")
    network = random(module.TSCAN, frame_depth=depth, img_size=size)
    loaded = of_theirs(network, tmp_path, parallel=parallel, frame_depth=depth)
    assert loaded.warnings == ()
    clip = {"motion": frames(rng, 20, size), "appearance": frames(rng, 20, size)}
    both = np.concatenate([clip["motion"], clip["appearance"]], axis=1)
    wanted = network.double()(per_frame(both)).detach().numpy().T
    judge(loaded, clip, {"pulse": wanted})


def test_mtts_can(tmp_path: Path, rng: Any) -> None:
    module = of_repository(f"{TOOLBOX}/TS_CAN.py", "Attention_mask", "TSM", "MTTS_CAN")
    network = random(module.MTTS_CAN, frame_depth=10)
    loaded = of_theirs(network, tmp_path, parallel=False, frame_depth=10)
    clip = {"motion": frames(rng, 10, 72), "appearance": frames(rng, 10, 72)}
    both = np.concatenate([clip["motion"], clip["appearance"]], axis=1)
    pulse, respiration = network.double()(per_frame(both))
    wanted = {"pulse": pulse.detach().numpy().T, "respiration": respiration.detach().numpy().T}
    judge(loaded, clip, wanted)


@pytest.mark.parametrize(("size", "depth"), [(36, 10), (72, 20)])
def test_efficient_phys(tmp_path: Path, rng: Any, size: int, depth: int) -> None:
    module = of_repository(f"{TOOLBOX}/EfficientPhys.py", "Attention_mask", "TSM", "EfficientPhys")
    network = random(module.EfficientPhys, frame_depth=depth, img_size=size)
    loaded = of_theirs(network, tmp_path, parallel=True, frame_depth=depth)
    x = frames(rng, 21, size)
    wanted = network.double()(per_frame(x)).detach().numpy().T
    judge(loaded, {"motion": np.diff(x, axis=2)}, {"pulse": wanted})


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (f"{TOOLBOX}/BigSmall.py", "BigSmall"),
        ("BigSmall/code/neural_methods/model/BigSmall_models.py", "BigSmallSlowFastWTSM"),
    ],
)
def test_big_small(tmp_path: Path, rng: Any, file: str, name: str) -> None:
    module = of_repository(file, "WTSM", name)
    network = random(getattr(module, name))
    loaded = of_theirs(network, tmp_path, parallel=True)
    assert loaded.warnings == ()
    count = sum(p.numel() for p in network.parameters())
    assert loaded.graph.parameter_count == count
    small, big = frames(rng, 6, 9), frames(rng, 6, 144)
    actions, pulse, respiration = network.double()((per_frame(big), per_frame(small)))
    segments = {  # each a clip of its own, of which the big branch sees the first frame
        "small": small.reshape(3, 2, 3, 9, 9).swapaxes(0, 1),
        "big": big[0, :, ::3, None].swapaxes(0, 1),
    }
    wanted = {
        "pulse": pulse.detach().numpy().reshape(2, 3),
        "respiration": respiration.detach().numpy().reshape(2, 3),
        "action_units": actions.detach().numpy().reshape(2, 3, 12).swapaxes(1, 2),
    }
    judge(loaded, segments, wanted)
