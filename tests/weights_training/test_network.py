"""The network that is trained: its shift, its causality, and what is exported (needs PyTorch)."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from weights.training import motion, train  # noqa: E402
from weights.training.generator import make_set, write  # noqa: E402
from weights.training.network import CameraNet, TemporalShift, exported, shift_of  # noqa: E402

T = motion.FRAMES


@pytest.mark.parametrize("mode", ["tsn", "offline", "online"])
def test_the_shift_copies_whole_channels_by_d(mode):
    x = torch.arange(1.0, 1 + 2 * T * 10 * 6).reshape(2, T, 10, 2, 3)
    out = TemporalShift(mode, 10)(x.flatten(0, 1)).unflatten(0, (2, T))
    for c, d in enumerate(shift_of(mode, 10)):
        for t in range(T):
            source = x[:, t - d, c] if 0 <= t - d < T else torch.zeros(2, 2, 3)
            assert torch.equal(out[:, t, c], source)


def net(mode):
    torch.manual_seed(0)
    model = CameraNet(mode, (8, 8), (1, 1)).eval()
    return lambda x: model.fc(model.features(x)[-1].mean((2, 3))).detach()


@pytest.mark.parametrize(("mode", "changed"), [("tsn", {5}), ("online", {5, 6, 7})])
def test_no_frame_sees_the_future_unless_offline(mode, changed):
    x = torch.randn(T, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    y = x.clone()
    y[5] += 1
    difference = (net(mode)(x) - net(mode)(y)).abs().amax(1)
    assert {t for t in range(T) if difference[t] > 1e-6} == changed


def test_the_offline_twin_sees_both_neighbours():
    x = torch.randn(T, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    y = x.clone()
    y[4] += 1
    difference = (net("offline")(x) - net("offline")(y)).abs().amax(1)
    assert {3, 5} <= {t for t in range(T) if difference[t] > 1e-6}


def test_a_mean_over_frames_without_a_shift_is_blind_to_order():
    torch.manual_seed(0)
    model = CameraNet("tsn", (8, 8), (1, 1)).eval()
    x = torch.randn(T, 3, 16, 16)
    torch.testing.assert_close(model(x), model(x.flip(0)))


def test_only_the_network_is_exported():
    names = exported(CameraNet("online").state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.1.bias", "fc.bias"} <= set(
        names
    )
    assert not [n for n in names if "aux" in n or "num_batches" in n]


def test_true_flow_of_a_pan_is_the_pan():
    v = torch.zeros(1, 7, 4)
    v[..., 0] = 0.02
    flow = train.true_flow(v, torch.ones(1), 4)
    np.testing.assert_allclose(flow[:, :, 0], 0.02)
    np.testing.assert_allclose(flow[:, :, 1], 0)


def test_the_rate_warms_up_and_falls_to_zero():
    rates = [train.rate(s, 1000, 0.004) for s in range(1000)]
    assert rates.index(max(rates)) == pytest.approx(200, abs=1)
    assert rates[-1] < 1e-6


def test_a_phase_has_a_size_or_that_of_its_clips():
    assert train.schedule("32:5,own:3") == [(32, 5), (train.OWN, 3)]


def test_clips_of_two_sizes_take_turns(bank, tmp_path, capsys, monkeypatch):
    """A size takes the smallest; "own" takes each as it is, so many that a step costs the same."""
    for size in (32, 64):
        write(tmp_path / str(size), make_set(1, 18, bank, size=size))
    data = [str(tmp_path / "64"), str(tmp_path / "32")]
    options = ["--widths", "8", "--depths", "1", "--batch", "8", "--every", "1", "--no-bf16"]
    where = ["--data", *data, "--val", *data, "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["train", *where, "--phases", "16:2,own:4", *options])
    train.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [int(row[2]) for row in rows] == [8, 16, 24, 28, 36, 40]
    assert [int(row[3]) for row in rows] == [16, 16, 0, 0, 0, 0]
    assert (tmp_path / "run" / "online.npz").exists()
