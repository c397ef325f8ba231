"""Files that TensorFlow's own converter writes, against what LiteRT answers to them.

``TSM_REF_TENSORFLOW_PYTHON`` names a Python that has ``tensorflow`` and ``ai-edge-litert``; the
script beside this file writes the files with it and asks LiteRT, by both of its rules of rounding.
"""

import os
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tsm_ref.errors import CheckpointError
from tsm_ref.infer import main

BOUNDS: Mapping[str, float] = {
    "float32": 1e-6,
    "float16": 1e-6,
    "dynamic": 5e-3,
    "int8": 1e-5,
    "int8 inside": 1e-5,
    "uint8": 1e-5,
    "int16": 1e-3,
}
"""How far an answer may be from LiteRT's, by what the file holds, of the largest logit.

Where the file says all, rounding of float32 is left; `dynamic` and `int16` are rounded by LiteRT
alone, by up to 1/254 and 1/65534 of the range of every value.
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: Any) -> list[Path]:
    python = os.environ.get("TSM_REF_TENSORFLOW_PYTHON")
    if not python:
        pytest.skip(
            "no exporter of others: set TSM_REF_TENSORFLOW_PYTHON to a Python that has tensorflow"
        )
    folder = os.environ.get("TSM_REF_TENSORFLOW_FILES")  # written before, by the same script
    if not folder:
        folder = str(tmp_path_factory.mktemp("tflite"))
        script = Path(__file__).parent / "write_with_tensorflow.py"
        subprocess.run([python, str(script), folder], check=True, capture_output=True)
    return sorted(Path(folder).glob("*.tflite"))


def loaded(path: Path) -> tuple[tsm_ref.Model, list[str]]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return tsm_ref.load(path, engine="numpy"), [str(one.message) for one in told]


def test_networks_of_the_converter(files: list[Path]) -> None:
    answered = [path for path in files if path.with_suffix(".npz").exists()]
    assert len(answered) > 40
    for path in answered:
        name, kind = path.stem.rsplit(", ", 1)
        with np.load(path.with_suffix(".npz")) as z:
            clip, real, wanted = z["clip"], z["real"], z["xnnpack"]
        model, told = loaded(path)
        (found,) = model.run({model.form.inputs[0].name: clip}).values()  # type: ignore[union-attr]
        bound = BOUNDS[kind] * np.abs(real).max()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound, err_msg=path.name)
        assert model.shifts, path.name
        (d, fill) = (model.shifts[0].d.tolist(), model.shifts[0].fill)
        assert d[:4] == ([1, 1, 0, 0] if "causal" in name else [-1, -1, 1, 1]), path.name
        assert fill == {"roll": "circular", "gather": "replicate"}.get(name.split()[-1], "zero"), (
            path.name
        )
        assert any("LiteRT rounds" in text for text in told) == (kind in ("dynamic", "int16"))
        if "int8" in kind or kind == "uint8":
            assert not {"Conv", "Linear"} & {node.op for node in model.graph.nodes}, path.name


def test_what_is_in_no_graph_of_built_in_ops(files: list[Path], capsys: Any) -> None:
    refused = {path.stem: path for path in files if path.stem.startswith("refused")}
    for name, words in (("custom", "the custom op 'FlexRoll'"), ("subgraphs", "subgraphs")):
        path = refused[f"refused, {name}"]
        with pytest.raises(CheckpointError, match=words):
            tsm_ref.load(path)
        assert main(["--model", str(path), "no.mp4"]) == 4
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_real_file_that_is_cut_off_or_has_a_bit_turned(files: list[Path], tmp_path: Path) -> None:
    """One sentence, or still a network; never anything else."""
    rng = np.random.default_rng(0)
    path = tmp_path / "model.tflite"
    sentences: list[str] = []
    for source in files[:: len(files) // 6]:
        data = source.read_bytes()
        places = rng.integers(0, len(data), 24)
        spoiled = [data[:place] for place in places[:8]]
        for place in places[8:]:
            changed = bytearray(data)
            changed[place] ^= 1 << int(rng.integers(8))
            spoiled.append(bytes(changed))
        for each in spoiled:
            path.write_bytes(each)
            try:
                loaded(path)
            except tsm_ref.errors.TsmError as error:
                sentences.append(str(error))
    assert len(sentences) > 40
    assert not any("\n" in sentence for sentence in sentences)
