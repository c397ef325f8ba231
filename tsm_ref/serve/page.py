"""The page at ``/``: one document that fetches nothing, its script allowed by digest."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

__all__ = ["HEADERS", "HTML"]

HERE = Path(__file__).parent


def _own(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _rule(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_SCRIPT, _STYLE = _own("page.js"), _own("page.css")

HTML = _own("page.html").replace("/* style */", _STYLE).replace("/* script */", _SCRIPT)
"""The page, the same for everybody: what a file is called comes in by its script, as text."""

HEADERS: Mapping[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_rule(_SCRIPT)}; style-src {_rule(_STYLE)}; "
        "connect-src 'self'; img-src data:; media-src blob:; form-action 'none'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
"""What the page may do: run its own script, ask its own server, play the file that was dropped."""
