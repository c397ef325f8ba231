"""Arrows point down only: every import of every module, held against the floors of the house.

The floors are those of whole folders, then those of the files inside a folder; and no file imports
itself by way of others.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS = (
    ("errors", "system", "kernels", "command"),
    (
        *("op_rules", "op_attributes", "ops_table", "graph", "graph_json"),
        *("reference", "profile", "profile_files"),
    ),
    ("passes", "models", "video"),
    ("engine", "checkpoint"),
    ("model",),
    ("recognition",),
    ("live",),
    ("show", "detection"),
    ("batch",),
    ("quantization",),
    ("tsm_ref",),
    ("options",),
    (
        *("infer", "bench", "serve", "pulse", "detect", "evaluate", "fit_head", "explain"),
        *("convert", "inspect", "quantize", "warmup"),
    ),
    ("subcommands",),
    ("completion",),
    ("__main__",),
)
"""The rooms of each floor, the lowest first; "tsm_ref" is the package itself, its public names."""

NEIGHBOURS = {
    ("command", "errors"),
    ("command", "kernels"),
    ("command", "system"),
    ("graph", "ops_table"),
    ("graph_json", "graph"),
    ("graph_json", "ops_table"),
    ("op_attributes", "op_rules"),
    ("ops_table", "op_attributes"),
    ("ops_table", "op_rules"),
    ("kernels", "errors"),
    ("kernels", "system"),
    ("system", "errors"),
    ("profile", "reference"),
    ("profile_files", "profile"),
}
"""The rooms that may look into another one of their own floor."""

SHORTCUTS = {("model", "recognition")}
"""Arrows up that the public names need, as `Model.recognize`: only inside a function or a type."""

INSIDE = {
    "system": ("amx arm atomic isolated memory patience private terminal",),
    "reference": (
        "_arrays",
        "_windows bounded folds rounding",
        "detection ops pool quantised",
        "dynamic litert shift",
        "spatial",
        "blocks bounds",
    ),
    "passes": (
        "extents features fold_batch_norm whole_numbers windows",
        "fuse bfloat16 relations streaming",
        "optimize",
    ),
    "models": (
        "builder flow",
        "big_small bn_inception c3d mobilenet_v2 p3d resnet resnet_3d s3d ts_can",
        "eco rfcn",
        "mobileone pp_lcnet",
        "mobilenet_v3",
        "weights zoo",
    ),
    "video": (
        *(
            "ahead boxes captures delays kept log planes sampling source sparse",
            "clock containers pictures resize",
        ),
        "transforms",
        *("decode", "camera pipe surveys", "clips", "reading stills", "flow"),
    ),
    "engine": (
        *("alone arena contract exact forking inputs oracle plan_cache stream", "on_numpy"),
        *("on_loops on_numba",),
    ),
    "model": (
        "described features kept_weights meaning onnx_backend scores stream summary",
        "file_form",
        "model",
        "building loading",
    ),
    "quantization": ("ranges report", "equalise place", "quantize"),
    "recognition": (
        "asked bars cutter inputs room stopwatch windows",
        "answers light verdict",
        "recognize",
        "features render streams",
    ),
    "serve": (
        *("settings problems metrics page", "work uploads guard connections frames"),
        *("models", "helpers openapi streams", "app", "__main__"),
    ),
    "pulse": ("frames regions waves", "recipes", "measure", "live render", "__main__"),
    "detection": ("regions", "boxes", "detector", "render"),
    "live": ("lit smoothing sources", "loop", "early", "show", "session"),
}
"""The floors inside a folder, the lowest first; those of `checkpoint` are on the maps in it."""

LATE = {("tsm_ref.model.model", "tsm_ref.recognition")}
"""Imports inside a function, or of a type, that close a circle: `Model.recognize`."""

OWNERS = {
    "av": ("tsm_ref/video/decode.py", "tsm_ref/bench/", "tsm_ref/show/", "weights/training/"),
    "numba": ("tsm_ref/kernels/", "tsm_ref/engine/on_numba/", "weights/training/"),
    "llvmlite": ("tsm_ref/kernels/",),
    "torch": (
        "weights/training/",
        "tsm_ref/bench/",
        "conformance/examples/",
        "conformance/adapters/",
    ),
    "scipy": ("tsm_ref/pulse/",),
    "onnxruntime": ("tsm_ref/bench/", "conformance/"),
    "openvino": ("tsm_ref/bench/",),
    "tensorflow": ("conformance/adapters/",),
    "sklearn": ("tsm_ref/batch/fitting.py",),
}
"""Packages that only these files may import, given by the beginnings of their paths."""

JUDGE = {"reference", "errors", "system"}
"""All that the judge may know of us, but for the adapters of our own engines."""
ADAPTERS = "conformance/testees/engine"

HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

Import = tuple[int, str, bool]


def imports(source: str, module: str) -> Iterator[Import]:
    """Every (line, dotted name, whether it is carried out at once) that a module imports."""
    for node in ast.walk(ast.parse(source)):
        at_once = getattr(node, "col_offset", 1) == 0
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}", at_once) for alias in node.names)
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            constants = (a for a in node.args[:1] if isinstance(a, ast.Constant))
            yield from ((node.lineno, str(a.value), at_once) for a in constants)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def room(dotted: str) -> str | None:
    """The room of tsm_ref that a dotted name lies in; None for another package."""
    first, _, rest = dotted.partition(".")
    if first != "tsm_ref":
        return None
    inside = rest.partition(".")[0]
    return inside if inside in HEIGHT else "tsm_ref"


def broken(path: str, source: str) -> list[str]:
    """What a file does against the plan of the house, one sentence per import."""
    module = path.removesuffix(".py").replace("/", ".")
    own = room(module)
    found = []
    for line, name, at_once in imports(source, module):
        package, wanted = name.partition(".")[0], room(name)
        allowed = OWNERS.get(package)
        if allowed is not None and not path.startswith(allowed):
            owners = " and ".join(allowed) or "nothing"
            found.append(f"{path}:{line} imports {package}, which is for {owners}")
        if package == "conformance" and own is not None:
            found.append(f"{path}:{line} imports the judge ({name})")
        if wanted is None:
            continue
        if path.startswith("conformance/"):
            if wanted not in JUDGE and not path.startswith(ADAPTERS):
                found.append(f"{path}:{line} lets the judge import tsm_ref.{wanted}")
        elif (own, wanted) in SHORTCUTS and not at_once:
            continue
        elif own is not None and not _down(own, wanted):
            found.append(f"{path}:{line} points up: {own} imports {wanted} ({name})")
    return found


def _down(own: str, wanted: str) -> bool:
    return own == wanted or HEIGHT[wanted] < HEIGHT[own] or (own, wanted) in NEIGHBOURS


def broken_inside(folder: str, path: str, source: str) -> list[str]:
    """What a file does against the floors of its folder, one sentence per import."""
    heights = {name: i for i, names in enumerate(INSIDE[folder]) for name in names.split()}
    home = f"tsm_ref.{folder}."
    module = path.removesuffix(".py").replace("/", ".")
    own = module.removeprefix(home).partition(".")[0]
    if own == "__init__":
        return []
    if own not in heights:
        return [f"{path} has no floor yet: write it into INSIDE of {__file__}"]
    return [
        f"{path}:{line} points up: {own} imports {name}"
        for line, name, _ in imports(source, module)
        if name.startswith(home)
        and heights.get(name.removeprefix(home).partition(".")[0], 0) > heights[own]
    ]


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, each of which imports the next; empty if there is none."""
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        found = next((c for to in sorted(arrows[module]) if (c := walk(to, [*way, module]))), [])
        done.add(module)
        return found

    return next((found for module in sorted(arrows) if (found := walk(module, []))), [])


def arrows() -> dict[str, set[str]]:
    """Which modules each module imports, those of `LATE` left out."""
    sources = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in files()
        if not path.startswith(("weights/", "conformance/examples/"))
    }
    found: dict[str, set[str]] = {module: set() for module in sources}
    for module, path in sources.items():
        full = path.removesuffix(".py").replace("/", ".")
        for _, name, at_once in imports((ROOT / path).read_text(encoding="utf-8"), full):
            target = name if name in sources else name.rpartition(".")[0]
            late = not at_once and any(module == a and target.startswith(b) for a, b in LATE)
            if target in sources and target != module and not late:
                found[module].add(target)
    return found


def files() -> list[str]:
    parts = ("tsm_ref", "conformance", "weights")
    paths = (path for part in parts for path in (ROOT / part).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def rooms() -> list[str]:
    entries = (ROOT / "tsm_ref").iterdir()
    names = {e.stem for e in entries if e.suffix == ".py" or (e / "__init__.py").exists()}
    return sorted(names - {"__init__", "__main__"})


@pytest.mark.parametrize("name", rooms())
def test_every_room_has_a_floor(name):
    assert name in HEIGHT, f"tsm_ref/{name} has no floor yet: write it into FLOORS of {__file__}"


def test_no_room_stands_on_two_floors():
    assert len(HEIGHT) == sum(map(len, FLOORS))


def test_there_are_files_to_read():
    assert {"tsm_ref/graph.py", "tsm_ref/engine/arena.py"} <= set(files())
    assert len(files()) > 60


@pytest.mark.parametrize("path", files())
def test_arrows_point_down(path):
    assert broken(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("folder", INSIDE)
def test_arrows_inside_a_folder_point_down(folder):
    inside = [path for path in files() if path.startswith(f"tsm_ref/{folder}/")]
    assert len(inside) > 2
    for path in inside:
        assert broken_inside(folder, path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_no_file_imports_itself_by_way_of_others():
    found = arrows()
    assert len(found["tsm_ref.recognition.recognize"]) > 5
    assert circle(found) == []


def test_a_circle_is_caught():
    assert circle({"a": {"b", "d"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("tsm_ref/video/source.py", "from tsm_ref.video.decode import frames"),
        (
            "tsm_ref/engine/on_numpy/ops.py",
            "def f():\n    from tsm_ref.engine.on_numba import plan",
        ),
        ("tsm_ref/reference/new.py", "import numpy"),
    ],
)
def test_an_arrow_that_points_up_inside_a_folder_is_caught(path, line):
    assert len(broken_inside(path.split("/")[1], path, line)) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("tsm_ref/graph.py", "from tsm_ref.engine.arena import place"),
        ("tsm_ref/graph.py", "import tsm_ref.models.resnet"),
        ("tsm_ref/graph.py", "from tsm_ref import models"),
        ("tsm_ref/graph.py", "def later():\n    from tsm_ref.passes import fuse"),
        ("tsm_ref/graph.py", "import importlib\nimportlib.import_module('tsm_ref.engine')"),
        ("tsm_ref/graph.py", "import tsm_ref"),
        ("tsm_ref/reference/ops.py", "from ..kernels import conv\nfrom ..passes import fuse"),
        ("tsm_ref/reference/ops.py", "from tsm_ref.profile import Profile"),
        ("tsm_ref/kernels/conv.py", "from tsm_ref.graph import Node"),
        ("tsm_ref/engine/arena.py", "from tsm_ref.checkpoint import load"),
        ("tsm_ref/checkpoint/hdf5/native.py", "from tsm_ref.engine import oracle"),
        ("tsm_ref/model/model.py", "from tsm_ref import infer"),
        ("tsm_ref/recognition/render.py", "import tsm_ref.convert"),
        ("tsm_ref/graph.py", "from . import passes"),
        ("tsm_ref/model/model.py", "from tsm_ref.recognition.recognize import recognize"),
        ("tsm_ref/reference/__init__.py", "from .ops import conv\nfrom ..model import Model"),
        ("tsm_ref/video/source.py", "import av"),
        ("tsm_ref/engine/on_numpy/engine.py", "from numba import njit"),
        ("tsm_ref/checkpoint/torch_file.py", "import torch"),
        ("conformance/judging/runner.py", "from tsm_ref.engine.oracle import run_oracle"),
        ("conformance/judging/runner.py", "def run():\n    import tsm_ref"),
        ("conformance/testees/base.py", "from tsm_ref.graph import Graph"),
        ("tsm_ref/engine/arena.py", "from conformance.questions.case import CASES"),
    ],
)
def test_an_arrow_that_points_up_is_caught(path, line):
    assert len(broken(path, line)) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("tsm_ref/engine/arena.py", "from tsm_ref.graph import Graph"),
        ("tsm_ref/engine/on_numba/plan.py", "from numba import njit"),
        ("tsm_ref/engine/oracle.py", "from tsm_ref import reference as ref"),
        ("tsm_ref/reference/ops.py", "from . import shift\nfrom .pool import max_pool"),
        ("tsm_ref/reference/__init__.py", "from .ops import conv\nfrom ..errors import TsmError"),
        ("tsm_ref/__init__.py", "from .model import Model\nfrom tsm_ref import reference"),
        ("tsm_ref/infer.py", "import tsm_ref\nfrom tsm_ref.recognition.render import table"),
        (
            "tsm_ref/model/model.py",
            "def f():\n    from tsm_ref.recognition import recognize",
        ),
        ("tsm_ref/video/decode.py", "import av"),
        ("conformance/testees/engines.py", "def run():\n    from tsm_ref.model import Model"),
        ("conformance/oracle.py", "from tsm_ref import reference\nimport tsm_ref.errors"),
        ("weights/training/train.py", "import torch\nimport tsm_ref"),
    ],
)
def test_an_arrow_that_points_down_is_not(path, line):
    assert broken(path, line) == []
