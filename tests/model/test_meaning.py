"""What a model file means to whoever loads it: labels, profiles and single facts."""

from pathlib import Path

import numpy as np
import pytest

import tsm_ref
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.model.meaning import find_labels
from tsm_ref.profile import PROFILES

NAMES = ("one", "two", "three", "four", "five")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.h5"
    tsm_ref.save(tsm_ref.build("resnet18", num_classes=5, engine="numpy"), path)
    return path


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same kind of network under MIT's names, in a file that PyTorch would write."""
    weights = tsm_ref.build("resnet18", num_classes=5, engine="numpy").weights
    tensors = {}
    for name, value in weights.items():
        theirs = name.replace(".conv1.", ".conv1.net.") if name.startswith("layer") else name
        prefix = "module.new_" if name.startswith("fc") else "module.base_model."
        tensors[prefix + theirs] = value[:, :, 0] if value.ndim == 5 else value
    path = tmp_path_factory.mktemp("models") / "ckpt.pth.tar"
    path.write_bytes(zip_file({"state_dict": tensors}))
    return path


def test_labels_are_given_in_any_form(ours: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    for labels in (NAMES, list(NAMES), tmp_path / "names.txt", str(tmp_path / "names.txt")):
        assert tsm_ref.load(ours, labels=labels, engine="numpy").labels == NAMES
    assert tsm_ref.load(ours, engine="numpy").labels == ()


def test_labels_of_a_file_give_way(ours: Path, tmp_path: Path) -> None:
    model = tsm_ref.load(ours, labels=NAMES, engine="numpy")
    tsm_ref.save(model, tmp_path / "named.h5")
    assert tsm_ref.load(tmp_path / "named.h5", engine="numpy").labels == NAMES
    again = tsm_ref.load(tmp_path / "named.h5", labels=NAMES[::-1], engine="numpy")
    assert again.labels == NAMES[::-1]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (("one", "two"), "2 labels were given, 'one' to 'two', and the model has 5 classes"),
        ("kinetics400", "400 labels were given"),
        (("one",) * 5, "different texts"),
        ((1, 2, 3, 4, 5), "different texts"),
        ((), "different texts"),
        ("no-such-list", "lists that ship: imagenet_vid, jester_alphabetical"),
    ],
)
def test_labels_that_do_not_fit(ours: Path, labels: object, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        tsm_ref.load(ours, labels=labels, engine="numpy")
    assert sentence in str(caught.value)


def test_a_list_that_ships_wins_over_no_file() -> None:
    assert find_labels("jester_alphabetical")[0] == "Doing other things"


def test_facts_change_a_foreign_file(theirs: Path) -> None:
    with pytest.warns(UserWarning, match="this is assumed: --fold-div 8 --segments 8"):
        plain = tsm_ref.load(theirs, engine="numpy")
    assert (plain.profile.shift.divisor, plain.profile.sampling.segments) == (8, 8)
    other = tsm_ref.load(theirs, engine="numpy", fold_div=4, segments=16, size=128, crop=112)
    assert other.profile.shift.divisor == 4
    assert other.shifts[0].d.tolist() == [-1] * 16 + [1] * 16 + [0] * 32
    assert other.input_shapes() == {"x": (1, 3, 16, 112, 112)}
    clip = np.random.default_rng(0).normal(size=(1, 3, 4, 32, 32)).astype(np.float32)
    assert not np.allclose(plain(clip), other(clip))


def test_a_profile_may_be_a_file(theirs: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "mit"\n[shift]\ndivisor = 4\n')
    model = tsm_ref.load(theirs, profile=path, engine="numpy")
    assert model.profile == PROFILES["mit"].with_changes(shift=model.profile.shift)
    assert model.profile.shift.divisor == 4


def test_the_shift_of_our_own_files_is_not_to_be_changed(ours: Path) -> None:
    with pytest.raises(CheckpointError, match="were trained with shift"):
        tsm_ref.load(ours, fold_div=4, engine="numpy")
    assert tsm_ref.load(ours, segments=16, engine="numpy").profile.sampling.segments == 16


def test_a_fact_that_there_is_not(ours: Path) -> None:
    with pytest.raises(UsageError, match="no fact 'fold_divisor'"):
        tsm_ref.load(ours, fold_divisor=4, engine="numpy")
