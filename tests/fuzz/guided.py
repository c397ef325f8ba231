"""Coverage-guided targets: ``python -m tests.fuzz.guided FORMAT [options of libFuzzer]``.

Needs atheris. It watches which lines of ours a file reaches, and keeps what reaches new ones. What
is not a documented refusal ends the run, and its file is kept where libFuzzer is told to.
"""

import contextlib
import sys
import tempfile
import warnings
from pathlib import Path


def main() -> None:
    """Fuzz one format until libFuzzer has enough."""
    import atheris

    with atheris.instrument_imports(include=["tsm_ref", "conformance"]):
        from tests.fuzz.formats import FORMATS
        from tsm_ref.errors import TsmError

    name = sys.argv.pop(1)
    kind = FORMATS[name]
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="guided-") as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(kind.seeds()):
            (corpus / str(number)).write_bytes(seed)
        path = Path(folder, "registry.toml" if name == "registry" else f"file{kind.suffix}")

        def target(data: bytes) -> None:
            path.write_bytes(data)
            with contextlib.suppress(TsmError):
                kind.read(path)

        atheris.Setup([*sys.argv, str(corpus)], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
