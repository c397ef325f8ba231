"""Fetches a file over HTTP: resumed where it was cut, checked, and named only when it is whole."""

import errno
import hashlib
import http.client
import os
import re
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tsm_ref.checkpoint.contents import shown
from tsm_ref.errors import CheckpointError, WriteError
from tsm_ref.system.private import make_folder
from tsm_ref.system.terminal import printable

Progress = Callable[[int, int | None], None]

MAX_BYTES = 2**31
PIECE = 2**16
ATTEMPTS = 5
PATIENCE = 30.0
"""Seconds without a byte after which a connection is given up."""

MAX_REASON = 200
"""The most characters of a server's words that an error repeats."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

PAUSE = 1.0
"""Seconds before the second attempt; every further one waits twice as long."""


def cache_folder() -> Path:
    """Where fetched models are kept: ``TSM_REF_CACHE``, or the user's folder for caches.

    Raises `WriteError` where it cannot be made.
    """
    chosen = os.environ.get("TSM_REF_CACHE")
    folder = Path(chosen) if chosen else user_cache()
    try:
        make_folder(folder)
    except OSError as error:
        raise WriteError(
            f"the cache {folder} cannot be made ({error.strerror}); set TSM_REF_CACHE to a folder"
        ) from None
    return folder


def user_cache() -> Path:
    """The user's folder for caches, which may not be there yet."""
    try:
        from platformdirs import user_cache_path
    except ImportError:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return Path(base) / "tsm_ref"
    found: Path = user_cache_path("tsm_ref", appauthor=False)
    return found


def download(url: str, target: Path, sha256: str = "", progress: Progress | None = None) -> None:
    """Fetch a file; what is there already in ``target.part`` is not fetched again.

    A cut or stalled connection is resumed, `ATTEMPTS` times in all. ``sha256`` is the digest, or
    its first digits; a file with another one is deleted. `progress` is told how many bytes there
    are, and of how many.

    Raises `CheckpointError` where the file cannot be had or is another one, `WriteError` where it
    cannot be kept.
    """
    part = target.with_name(f"{target.name}.part")
    _forget_foreign(part)
    reason: object = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            if _continue(url, part, progress):
                _check(part, url, sha256)
                os.replace(part, target)
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}"
            error.close()
            if error.code == 416:  # what is there is longer than the file: begin anew
                part.unlink(missing_ok=True)
            elif 300 <= error.code < 500 and error.code not in (408, 429):
                break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError) as error:
            if isinstance(error, OSError) and (error.filename or error.errno in _FULL):
                raise WriteError(f"{part}: {error.strerror}") from None
            reason = getattr(error, "reason", error)
        except (ValueError, OverflowError) as error:  # an address or a length that is none
            reason = f"the server's answer is malformed: {error}"
            break
    told = printable(" ".join(str(reason).split()))[:MAX_REASON]
    raise CheckpointError(f"{url} cannot be fetched: {told}")


def _forget_foreign(part: Path) -> None:
    """Remove what lies where the partial file belongs, unless we began that file.

    A link would lead us to overwrite what it points to. Raises `WriteError`.
    """
    try:
        found = part.lstat()
        ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        if not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and ours):
            part.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise WriteError(f"{part}: {error.strerror}") from None


def on_terminal(name: str) -> Progress | None:
    """A line on stderr that shows how far a download is; None where nobody sees it."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None

    def show(have: int, total: int | None) -> None:
        share = f" of {total / 1e6:.0f} MB ({have / total:.0%})" if total else " MB"
        end = "\n" if have == total else ""
        print(
            f"\rfetching {printable(name)}: {have / 1e6:.0f}{share}",
            end=end,
            file=sys.stderr,
            flush=True,
        )

    return show


def _continue(url: str, part: Path, progress: Progress | None) -> bool:
    """Fetch what is missing; True when all of it is there."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "tsm_ref"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with _opener().open(request, timeout=PATIENCE) as answer:
        resumed = answer.status == 206 and _begins(answer.headers.get("Content-Range"), have)
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and re.fullmatch(r"[0-9]{1,15}", length) else None
        if total is not None and total > MAX_BYTES:
            raise CheckpointError(f"{url} has {total} bytes; at most {MAX_BYTES} are accepted")
        with open(part, "ab" if resumed else "wb", opener=_no_link) as file:
            while piece := answer.read1(PIECE):
                have += len(piece)
                if have > MAX_BYTES:
                    raise CheckpointError(f"{url} sends more than {MAX_BYTES} bytes")
                file.write(piece)
                if progress is not None:
                    progress(have, total)
    return total is None or have == total


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _begins(content_range: str | None, at: int) -> bool:
    """True where the server sends what was asked for.

    >>> _begins("bytes 100-199/200", 100), _begins("bytes 0-199/200", 100), _begins(None, 100)
    (True, False, False)
    """
    return (content_range or "").startswith(f"bytes {at}-")


class _SameOrSafer(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http, nor to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, head: Any, url: str) -> Any:
        """The request for the new place; refuses an unsafe one."""
        try:
            old, new = urlsplit(req.full_url).scheme, urlsplit(url).scheme
        except ValueError:
            fp.close()
            raise CheckpointError(
                f"the download is redirected to {shown(url)}, which is no address"
            ) from None
        if new not in ("http", "https") or (old == "https" and new != "https"):
            fp.close()
            raise CheckpointError(f"the download is redirected to {shown(url)}, which is refused")
        return super().redirect_request(req, fp, code, msg, head, url)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SameOrSafer)


def _check(part: Path, url: str, sha256: str) -> None:
    with open(part, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        part.unlink()
        raise CheckpointError(
            f"{url} is not the published file: its SHA-256 begins with {found[: len(sha256)]}; "
            f"expected {sha256}"
        )
