"""What a model says about itself as text: costs, shifts, and where its ops are computed."""

import tsm_ref
from tests.quantised_networks import network
from tsm_ref.engine import make_engine
from tsm_ref.kernels.integer import units
from tsm_ref.model.summary import summary_lines


def test_summary_tells_parameters_operations_and_every_shift() -> None:
    model = tsm_ref.build("resnet50", engine="numpy")
    text = model.summary()
    assert "24,327,632" in text
    assert "32.70" in text  # 33 G multiply-adds at 8 frames
    assert text.count("bi-directional") == 16
    stem = next(line for line in text.splitlines() if line.startswith("conv1 "))
    assert "1x64x8x112x112" in stem
    assert str(64 * 3 * 49 * 8 * 112 * 112) in stem


def test_summary_names_what_numpy_computes_for_numba() -> None:
    model = tsm_ref.build("ts-can", engine="numba")
    assert "on NumPy       dense1.tanh" in model.summary()


def test_summary_tells_what_comes_out() -> None:
    sizes = {"num_classes": 2, "reduced": 8, "bins": 3}
    gives = {
        "resnet18": ({}, "logits"),
        "mtts-can": ({}, "pulse, respiration: a number for each frame (N, T)"),
        "rfcn_resnet18": (
            sizes,
            "objectness, offsets, score_maps, box_maps: maps (N, C, T, H, W)",
        ),
    }
    for name, (options, words) in gives.items():
        text = tsm_ref.build(name, engine="numpy", **options).summary()
        assert text.splitlines()[-1] == f"gives          {words}"


def test_summary_tells_what_each_layer_computes_in() -> None:
    graph, weights = network()
    engine = make_engine(graph, weights, "numpy")
    lines = list(summary_lines("mine", graph, engine, {"x": (1, 3, 4, 13, 11)}))
    said = {line.split()[0]: line.split()[-1] for line in lines if not line.startswith("shift sh")}
    assert (said["stem"], said["shift"], said["logits"]) == ("int8", "int8", "int8")
    assert (said["q"], said["back"], said["relu"]) == ("float32", "float32", "float32")
    assert "int8           100.0% of the multiply-adds" in lines


def test_summary_tells_the_unit_and_why_it_is_not_a_better_one(monkeypatch) -> None:
    graph, weights = network()
    engine = make_engine(graph, weights, "numba")
    monkeypatch.setattr(units, "refused", lambda: "Linux refuses it (error 1)")
    lines = list(summary_lines("mine", graph, engine, {"x": (1, 3, 4, 13, 11)}))
    said = {line.split()[0]: line.rpartition(" int8")[2] for line in lines}
    assert said["logits"] == f" on {units.UNIT.name}"
    assert said["max"] == ""
    assert "remark         AMX is not used: Linux refuses it (error 1)" in lines
