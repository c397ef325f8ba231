"""Builds the documentation as a site, from the pages of this repository and from the docstrings.

``python docs/build.py FOLDER`` (``pip install -e '.[docs]'``) writes it; what Sphinx warns of is an
error. ``python docs/build.py --commands`` writes ``commands.md`` anew from the options themselves.
"""

import ast
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path
from pkgutil import iter_modules
from textwrap import indent
from types import ModuleType

import tsm_ref
from tsm_ref.errors import MissingDependency, TsmError, UsageError
from tsm_ref.subcommands import COMMANDS, PARTS, parser_of

ROOT = Path(__file__).resolve().parent.parent

PAGES: dict[str, str] = {
    "README.md": "index.md",
    "docs/lessons/1-the-shift.md": "lessons/1-the-shift.md",
    "docs/lessons/2-from-a-checkpoint-to-a-stream.md": "lessons/2-from-a-checkpoint-to-a-stream.md",
    "docs/lessons/3-judging-your-own.md": "lessons/3-judging-your-own.md",
    "docs/commands.md": "commands.md",
    "docs/importing.md": "importing.md",
    "docs/conventions.md": "conventions.md",
    "docs/bad-inputs.md": "bad-inputs.md",
    "docs/precisions.md": "precisions.md",
    "docs/glossary.md": "glossary.md",
    "docs/architecture.md": "architecture.md",
    "conformance/README.md": "conformance.md",
    "weights/FORMAT.md": "format.md",
    "weights/cards/camera-motion.md": "cards/camera-motion.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
PAGES |= {
    page.relative_to(ROOT).as_posix(): page.relative_to(ROOT / "docs").as_posix()
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page.relative_to(ROOT).as_posix() not in PAGES
}
"""Where each page of the repository stands on the site, in the order of its menu."""

INSIDE = {"bench", "kernels", "serve", "system"}
"""Folders of the package that nobody but us imports."""

MODULES: dict[str, str] = {
    "tsm_ref": "load, build and save models",
    "tsm_ref.reference": "the formulas in plain NumPy",
    "tsm_ref.model": "a model and its streams",
    "tsm_ref.recognition": "a video to predictions",
    "tsm_ref.live": "frames as they come",
    "tsm_ref.batch": "many clips",
    "tsm_ref.show": "reports, plots, subtitles, cut lists",
    "tsm_ref.video": "decode, sample, resize, normalise",
    "tsm_ref.profile": "what a checkpoint means",
    "tsm_ref.profile_files": "profiles from files, and changed fact by fact",
    "tsm_ref.checkpoint": "model files",
    "tsm_ref.graph": "a network as a list of nodes",
    "tsm_ref.ops_table": "what each operation is",
    "tsm_ref.models": "architectures",
    "tsm_ref.passes": "graph to graph",
    "tsm_ref.engine": "graph to numbers",
    "tsm_ref.errors": "what can go wrong",
    "conformance": "judge other implementations",
}
MODULES |= {
    f"tsm_ref.{name}": ""
    for _, name, folder in iter_modules(tsm_ref.__path__)
    if folder and name not in INSIDE and f"tsm_ref.{name}" not in MODULES
}
"""The modules whose public names the site explains."""

CONF = """
project = "tsm_ref"
extensions = ["sphinx.ext.autodoc", "myst_parser"]
html_theme = "furo"
html_title = "tsm_ref"
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
highlight_language = "text"
python_maximum_signature_line_length = 88
add_module_names = False
myst_heading_anchors = 3
nitpicky = False
suppress_warnings = ["ref.python", "myst.header", "autodoc.mocked_object"]
"""

COMMANDS_HEAD = """# Every command and its options

`tsm COMMAND` is `python -m tsm_ref.COMMAND`, word for word; this page is what `--help` prints. \
`tsm completion bash` (zsh, fish) prints what a shell needs to complete all of it.

Results go to stdout, everything else to stderr; colours are for terminals, and not where \
`NO_COLOR` is set.
"""


def commands() -> str:
    """The page of all commands: what each prints for ``--help``, 80 columns wide."""
    os.environ["COLUMNS"] = "80"
    parts = [COMMANDS_HEAD]
    for name, (module, what) in (*COMMANDS.items(), *PARTS.items()):
        if module.startswith("tsm_ref"):
            text = parser_of(name).format_help().strip()
            parts.append(f"## {name}: {what}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def links(text: str, page: str) -> str:
    """The text of a page with links to where things stand on the site.

    A link to what the site does not have, such as source code, becomes its words.

    >>> links("[a](docs/glossary.md#x), [b](tsm_ref/graph.py), [c](https://d)", "README.md")
    '[a](glossary.md#x), b, [c](https://d)'
    """
    home = Path(PAGES[page]).parent.as_posix()

    def change(found: re.Match[str]) -> str:
        mark, words, target, anchor = found.groups()
        if "://" in target or not target:
            return found[0]
        path = os.path.normpath((Path(page).parent / target).as_posix())
        if mark:
            return f"{mark}[{words}]({os.path.relpath(Path(path).name, home)})"
        if path in PAGES:
            return f"[{words}]({os.path.relpath(PAGES[path], home)}{anchor or ''})"
        return words

    return re.sub(r"(!?)\[((?:[^][]|\[[^]]*\])*)\]\(([^)#]*)(#[^)]*)?\)", change, text)


def write_sources(folder: Path) -> None:
    """Everything that Sphinx reads."""
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    shutil.copy(ROOT / "docs" / "shift.svg", folder)
    for page, place in PAGES.items():
        text = links((ROOT / page).read_text("utf-8"), page)
        if page == "README.md":
            text += f"\n{_menu('Pages', list(PAGES.values())[1:])}\n{_menu('Modules', _modules())}"
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    (folder / "api").mkdir()
    for name, what in MODULES.items():
        title = f"{name}: {what}" if what else name
        text = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n{_public(name)}"
        (folder / "api" / f"{name}.rst").write_text(text, encoding="utf-8")


def _public(name: str) -> str:
    """What is explained of a module: the names that it offers, or all that is written in it."""
    module = import_module(name)
    offered = getattr(module, "__all__", None)
    if offered is None:
        return "   :members:\n"
    parts = [""]
    for public in offered:
        found = getattr(module, public)
        if callable(found):
            kind = "class" if isinstance(found, type) else "function"
            parts.append(f".. auto{kind}:: {name}.{public}")
            parts += ["   :members:"] if kind == "class" else []
        else:
            parts.append(f".. py:data:: {name}.{public}")
        parts += ["   :no-index:"] if name == "tsm_ref" else []  # the names are of tsm_ref.model
        parts += ["", *([] if callable(found) else [indent(_said(module, public), "   "), ""])]
    return "\n".join(parts)


def _said(module: ModuleType, constant: str) -> str:
    """The docstring of a constant: the text behind it, in whichever file of the room it stands."""
    path = Path(str(module.__file__))
    for file in sorted(path.parent.rglob("*.py")) if path.stem == "__init__" else [path]:
        body = ast.parse(file.read_text("utf-8")).body
        for given, text in pairwise(body):
            targets = given.targets if isinstance(given, ast.Assign) else [
                getattr(given, "target", None)
            ]  # fmt: skip
            named = any(isinstance(t, ast.Name) and t.id == constant for t in targets)
            if named and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                return cleandoc(str(text.value.value))
    return ""


def _modules() -> list[str]:
    return [f"api/{name}" for name in MODULES]


def _menu(title: str, pages: Sequence[str]) -> str:
    lines = "\n".join(page.removesuffix(".md") for page in pages)
    return f"```{{toctree}}\n:caption: {title}\n:hidden:\n\n{lines}\n```\n"


def build(target: Path) -> int:
    """Write the site into a folder; returns the exit code of Sphinx, 1 where it warned."""
    try:
        from sphinx.cmd.build import build_main
    except ImportError:
        raise MissingDependency("sphinx", "build the site (pip install -e '.[docs]')") from None
    with tempfile.TemporaryDirectory() as name:
        write_sources(Path(name))
        code: int = build_main(["-q", "-W", "--keep-going", name, str(target)])
    return code


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        if list(arguments) == ["--commands"]:
            (ROOT / "docs" / "commands.md").write_text(commands(), encoding="utf-8")
            return 0
        if len(arguments) != 1 or arguments[0].startswith("-"):
            raise UsageError("usage: python docs/build.py FOLDER | --commands")
        return build(Path(arguments[0]))
    except TsmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
