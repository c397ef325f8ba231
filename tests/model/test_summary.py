"""What a model says about itself as text: costs, shifts, and where its ops are computed."""

import tsm_ref


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
    assert "on NumPy       attention1.mask" in model.summary()
