"""Errors as HTTP answers: a status, and a reason as JSON in the form of RFC 9457.

``application/problem+json`` with `type`, `title`, `status` and `detail`, whatever went wrong.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from tsm_ref.errors import CheckpointError, MissingDependency, TsmError, UsageError, VideoError

if TYPE_CHECKING:  # what carries out orders needs no server
    from starlette.responses import JSONResponse

__all__ = ["MEDIA_TYPE", "Problem", "problem_of"]

MEDIA_TYPE = "application/problem+json"

TITLES = {408: "Request Timeout", 413: "Content Too Large", 422: "Unprocessable Content"}
"""The words of RFC 9110, which versions of Python spell differently."""

STATUSES: Mapping[type[TsmError], int] = {
    MissingDependency: 500,
    UsageError: 400,
    VideoError: 422,
    CheckpointError: 422,
}
"""The first kind that fits counts."""


class Problem(Exception):
    """What a client is told: a status and one sentence.

    >>> Problem(413, "it has more than 10 bytes").tree()["title"]
    'Content Too Large'
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def tree(self) -> dict[str, object]:
        """The JSON as plain values."""
        title = TITLES.get(self.status) or HTTPStatus(self.status).phrase
        about = {"type": "about:blank", "title": title, "status": self.status}
        return about | {"detail": self.detail.encode("utf-8", "backslashreplace").decode()}

    def response(self) -> "JSONResponse":
        """The answer."""
        from starlette.responses import JSONResponse

        return JSONResponse(self.tree(), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """Any error as what a client is told; one of ours that has no better name is status 500.

    >>> problem_of(VideoError("the file is empty")).status
    422
    """
    if isinstance(error, Problem):
        return error
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            return Problem(status, str(error))
    if isinstance(error, MemoryError):
        return Problem(503, "there is not enough memory for it now", {"Retry-After": "10"})
    return Problem(500, "a bug of ours: its report is in the log of the server")
