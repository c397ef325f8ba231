"""The default model in 8 bits: its card says what the log says, and it is as good as in float32."""

import json
from pathlib import Path

import tsm_ref
from tsm_ref.quantization import Report
from tsm_ref.quantization.report import NOTE
from weights.training import whole_numbers
from weights.training.card import HERE

SPEEDS = json.loads((HERE / "logs" / "int8_speeds.json").read_text())
REPORT = json.loads((HERE / "logs" / "int8.json").read_text())


def test_the_card_is_what_the_log_gives():
    made = Report.from_json(tsm_ref.load(whole_numbers.NAME, engine="numpy").notes[NOTE])
    path = Path(HERE).parent / "cards" / f"{whole_numbers.NAME}.md"
    assert path.read_text() == whole_numbers.card(REPORT, made, SPEEDS)
    assert made.held_out


def test_no_line_of_the_table_is_half_a_point_or_more_than_a_clip_below_float32():
    for part, measured in REPORT["int8"].items():
        less = max(0.005, 1.01 / measured["clips"])
        assert measured["accuracy"] > REPORT["float"][part]["accuracy"] - less, part
