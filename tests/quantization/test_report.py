"""The report survives as JSON, and says what people ask for."""

import numpy as np
import pytest

from tsm_ref.quantization.report import Layer, Loss, Report, loss_of

REPORT = Report(
    clips=6, measured_on=2, held_out=True, source="clips", method="mse", equalised=True,
    corrected=True, loss=Loss(0.5, 0.02, 0.01), choices={"plain": 0.01}, bytes_before=400,
    layers=(Layer("stem", "float32", 50.0), Layer("conv", "int8", 41.5)), bytes_after=100,
    seconds_before=0.4, seconds_after=0.1, engine="numba",
)  # fmt: skip


def test_it_comes_back():
    assert Report.from_json(REPORT.to_json()) == REPORT


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layers": [{"odd": 1}]}'])
def test_anything_else_is_no_report(text):
    with pytest.raises(ValueError, match=r".+"):
        Report.from_json(text)


def test_it_tells_what_was_lost_and_what_was_won():
    text = "\n".join(REPORT.lines())
    for said in ("clips that chose nothing", "50.0%", "1.000% (rms), 2.000%", "stay float32  stem",
                 "(0.25)", "41.5 dB", "channels equalised"):  # fmt: skip
        assert said in text


def test_errors_are_relative_to_the_largest_logit():
    exact = np.array([[1.0, -8.0], [2.0, 0.0]])
    found = loss_of(exact, exact + np.array([[0.4, 0.0], [-3.0, 0.0]]))
    assert found.agreement == 0.5
    assert found.largest == pytest.approx(3 / 8)
