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

    Raises `UsageError` naming what the file does not define.
    """
    try:
        tree = ast.parse(file.read_text("utf-8"), str(file))
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    wanted = [node for node in tree.body if getattr(node, "name", None) in names]
    missing = set(names) - {getattr(node, "name", "") for node in wanted}
    if missing:
        raise UsageError(f"{file} does not define {', '.join(sorted(missing))}")
    made = {"__name__": file.stem, **namespace}
    exec(compile(ast.Module(wanted, []), str(file), "exec"), made)
    return SimpleNamespace(**{name: made[name] for name in names})
