"""One class or function out of a file of somebody's project, without the project around it.

The file is parsed, and only the definitions that are named are carried out, in a namespace that has
what they use. Everything else in it (training, data loaders, packages that are hard to install)
stays unread.
"""

import ast
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tsm_ref.errors import UsageError

SOURCES = "TSM_CONFORMANCE_SOURCES"
"""The environment variable that names the folder of the checkouts."""


def checkout(name: str) -> Path:
    """The checkout of a project by its name; raises `UsageError` where there is none."""
    folder = Path(os.environ.get(SOURCES, ".")) / name
    if not folder.is_dir():
        raise UsageError(f"there is no checkout {name!r} in {folder.parent}: clone it there")
    return folder


def take(file: Path, names: list[str], namespace: dict[str, Any]) -> Any:
    """The named definitions of a file, as attributes of one object.

    ``Class.method`` takes the method alone, as a function by its own name. Raises `UsageError`
    naming what the file does not define.
    """
    try:
        tree = ast.parse(file.read_text("utf-8"), str(file))
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    defined = _definitions(tree)
    missing = set(names) - set(defined)
    if missing:
        raise UsageError(f"{file} does not define {', '.join(sorted(missing))}")
    wanted = [node for name, node in defined.items() if name in names]
    made = {"__name__": file.stem, **namespace}
    exec(compile(ast.Module(wanted, []), str(file), "exec"), made)
    taken = [name.rpartition(".")[2] for name in names]
    return SimpleNamespace(**{name: made[name] for name in taken})


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """Every class and function of a file by its name, and the methods of its classes."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, kinds):
            found[node.name] = node
            methods = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}.{m.name}": m for m in methods if isinstance(m, kinds)}
    return found
