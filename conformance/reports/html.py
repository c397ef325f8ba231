"""A page (being drawn)."""

from typing import Any


def page(report: dict[str, Any]) -> str:
    """Soon."""
    return ""
