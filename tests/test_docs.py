"""The site: every page and every public name is on it, and Sphinx has nothing to warn of."""

import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tsm_ref

ROOT = Path(__file__).resolve().parent.parent


def load() -> ModuleType:
    """The program that builds the site; it is in no package."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load()


def test_every_page_has_a_place() -> None:
    pages = {p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(build.PAGES)
    assert all((ROOT / page).exists() for page in build.PAGES)


def test_every_room_is_on_the_menu() -> None:
    rooms = {name for _, name, folder in pkgutil.iter_modules(tsm_ref.__path__) if folder}
    assert {f"tsm_ref.{name}" for name in rooms - build.INSIDE} <= set(build.MODULES)


@pytest.mark.parametrize("name", build.MODULES)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        found = getattr(module, public)
        if callable(found):
            assert found.__doc__, f"{name}.{public}"


def test_links_go_to_the_site_or_nowhere(tmp_path: Path) -> None:
    build.write_sources(tmp_path)
    for page in tmp_path.rglob("*.md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            assert "://" in link or (page.parent / link).exists(), (page.name, link)


def test_what_cannot_be_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([]) == 2
    assert capsys.readouterr().err == "error: usage: python docs/build.py FOLDER | --commands\n"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    for package in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(package)
    command = [sys.executable, str(ROOT / "docs" / "build.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in build.MODULES:
        page = (tmp_path / "api" / f"{name}.html").read_text(encoding="utf-8")
        for public in getattr(importlib.import_module(name), "__all__", ()):
            assert re.search(rf'<span class="pre">{public}</span>', page), (name, public)
