"""Downloads from a server on the loopback that cuts, stalls, lies and sends elsewhere."""

import contextlib
import hashlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import mmaction2, resnet, tensors_of
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint import downloads, registry
from tsm_ref.checkpoint.downloads import download
from tsm_ref.checkpoint.files import load_checkpoint
from tsm_ref.errors import CheckpointError, WriteError

DATA = np.random.default_rng(9).bytes(300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server:
    """Serves `data`; `script` says how each request in turn goes wrong, and then all go well."""

    def __init__(self) -> None:
        self.data = DATA
        self.script: list[str] = []
        self.asked: list[str | None] = []
        self.stopped = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/model.pth"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        wanted = to.headers.get("Range")
        self.asked.append(wanted)
        mood = self.script.pop(0) if self.script else "well"
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        to.close_connection = True
        if mood.isdecimal():
            to.send_error(int(mood))
            return
        if mood.startswith("to "):
            to.send_response(302)
            to.send_header("Location", mood[3:])
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        if start >= len(self.data) > 0:
            to.send_error(416)
            return
        if mood == "whole":
            start = 0
        to.send_response(206 if start else 200)
        if start:
            end = f"{len(self.data) - 1}/{len(self.data)}"
            to.send_header("Content-Range", f"bytes {start}-{end}")
        length = 2**40 if mood == "endless" else len(self.data) - start
        if mood.startswith("length "):
            length = mood[7:].encode("utf-8").decode("latin-1")  # type: ignore[assignment]
        if mood != "no length":
            to.send_header("Content-Length", str(length))
        to.end_headers()
        body = self.data[start:]
        to.wfile.write(body[: 100_000 if mood in ("cut", "stall") else None])
        to.wfile.flush()
        if mood == "stall":
            self.stopped.wait(20)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stopped.set()
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    monkeypatch.setattr(downloads, "PATIENCE", 0.5)
    monkeypatch.setenv("TSM_REF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.pth"


def only(target: Path) -> bool:
    return [p.name for p in target.parent.iterdir() if p.is_file()] == [target.name]


# One file


def test_a_file_arrives_and_its_progress_is_told(server: Server, target: Path) -> None:
    told: list[tuple[int, int | None]] = []
    download(server.url, target, DIGEST, lambda have, total: told.append((have, total)))
    assert target.read_bytes() == DATA
    assert only(target)
    assert told[-1] == (len(DATA), len(DATA))
    assert [have for have, _ in told] == sorted(have for have, _ in told)


@pytest.mark.parametrize("script", [["cut"], ["stall"], ["cut", "stall", "503", "cut"]])
def test_a_cut_or_stalled_download_is_resumed(
    server: Server, target: Path, script: list[str]
) -> None:
    server.script = list(script)
    download(server.url, target, DIGEST)
    assert target.read_bytes() == DATA
    assert server.asked[:2] == [None, "bytes=100000-"]
    assert only(target)


def test_what_an_earlier_run_left_is_not_fetched_again(server: Server, target: Path) -> None:
    target.with_name("model.pth.part").write_bytes(DATA[:250_000])
    download(server.url, target, DIGEST)
    assert server.asked == ["bytes=250000-"]
    assert target.read_bytes() == DATA


def test_a_server_that_cannot_resume_sends_all_of_it(server: Server, target: Path) -> None:
    server.script = ["cut", "whole"]
    download(server.url, target, DIGEST)
    assert target.read_bytes() == DATA


def test_a_rest_that_is_too_long_is_thrown_away(server: Server, target: Path) -> None:
    target.with_name("model.pth.part").write_bytes(DATA + b"more")
    download(server.url, target, DIGEST)
    assert target.read_bytes() == DATA


def test_without_a_length_the_digest_decides(server: Server, target: Path) -> None:
    server.script = ["no length"]
    download(server.url, target, DIGEST)
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("digits", [64, 8])
def test_another_file_is_refused_and_deleted(
    server: Server, target: Path, refused: Any, digits: int
) -> None:
    server.data = DATA[:-1] + b"\0"
    with refused(CheckpointError, "is not the published file", DIGEST[:digits]):
        download(server.url, target, DIGEST[:digits])
    assert list(target.parent.iterdir()) == []


def test_a_server_that_always_cuts_is_given_up(server: Server, target: Path, refused: Any) -> None:
    server.data = DATA * 4
    server.script = ["cut"] * 20
    with refused(CheckpointError, "cannot be fetched: the connection was cut"):
        download(server.url, target, DIGEST)
    assert len(server.asked) == downloads.ATTEMPTS
    assert not target.exists()


@pytest.mark.parametrize(("code", "times"), [("404", 1), ("403", 1), ("500", 5), ("429", 5)])
def test_refusals_of_the_server(
    server: Server, target: Path, refused: Any, code: str, times: int
) -> None:
    server.script = [code] * 20
    with refused(CheckpointError, f"cannot be fetched: {code}"):
        download(server.url, target)
    assert len(server.asked) == times


def test_redirects_are_followed(server: Server, target: Path) -> None:
    server.script = [f"to {server.url}?again"]
    download(server.url, target, DIGEST)
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_redirects_to_other_kinds_of_places(
    server: Server, target: Path, refused: Any, place: str
) -> None:
    server.script = [f"to {place}"]
    with refused(CheckpointError, place):
        download(server.url, target)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "place",
    [
        *("http://[::1", "http://127.0.0.1:port/", "http://127.0.0.1:9999999/", "http://", "//["),
        *("http:///x", "http://a b/", "http://\xe9\xff/", "http://" + "a" * 500 + ".example/"),
        *("http://[x]/", "http://127.0.0.1:9/\x1b[31m"),
    ],
)
def test_malformed_redirects_are_one_line(
    server: Server, target: Path, refused: Any, place: str
) -> None:
    server.script = [f"to {place}"] * 5
    with refused(CheckpointError):
        download(server.url, target)
    assert not target.exists()


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "x", "1e9", "\u0663"])
def test_a_length_that_is_none(server: Server, target: Path, length: str) -> None:
    server.script = [f"length {length}"]
    with contextlib.suppress(CheckpointError):
        download(server.url, target, DIGEST)


def test_redirects_for_ever(server: Server, target: Path, refused: Any) -> None:
    server.script = [f"to {server.url}?{i}" for i in range(200)]
    with refused(CheckpointError, "cannot be fetched"):
        download(server.url, target)


def test_a_file_without_end(server: Server, target: Path, refused: Any) -> None:
    server.script = ["endless"]
    with refused(CheckpointError, f"has {2**40} bytes; at most"):
        download(server.url, target)


def test_no_network(target: Path, refused: Any) -> None:
    with refused(CheckpointError, "http://127.0.0.1:9/model.pth cannot be fetched"):
        download("http://127.0.0.1:9/model.pth", target)


def test_a_folder_that_is_not_there(server: Server, tmp_path: Path, refused: Any) -> None:
    with refused(WriteError, "No such file or directory"):
        download(server.url, tmp_path / "no" / "model.pth")


def test_a_cache_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TSM_REF_CACHE", str(tmp_path / "file" / "cache"))
    with refused(WriteError, "cannot be made", "set TSM_REF_CACHE"):
        downloads.cache_folder()


def test_the_cache_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TSM_REF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert downloads.cache_folder() == tmp_path / "xdg" / "tsm_ref"


# A published checkpoint


@pytest.fixture
def entry(server: Server) -> Callable[..., registry.Published]:
    """The registry's entry of a file whose whole digest is known."""
    server.data = zip_file({"state_dict": tensors_of(resnet(), mmaction2(resnet()))})
    facts = {
        "url": server.url,
        "sha256": hashlib.sha256(server.data).hexdigest(),
        "architecture": "resnet18",
        "profile": "mmaction2",
        "segments": 16,
        "sampling": "",
        "labels": "five",
        "classes": 5,
        "accuracy": "73.18 top-1",
        "licence": "Apache-2.0",
        "readable": True,
        "note": "",
    }
    return lambda **changes: registry.Published(**facts | changes)


def fetch(entry: registry.Published, folder: Path) -> Path:
    return registry.fetched("tsm-x", entry, entry.meaning(folder))


def test_it_is_fetched_converted_and_kept(server: Server, entry: Any, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "five.txt").write_text("a\nb\nc\nd\ne\n")
    path = fetch(entry(), tmp_path)
    found = load_checkpoint(path)
    assert found.graph.nodes == resnet().nodes
    assert found.profile.labels == ("a", "b", "c", "d", "e")
    assert found.profile.sampling.segments == 16
    assert found.profile.measured == "73.18 top-1 (published)"
    assert found.extra["url"] == server.url
    assert found.extra["sha256"] == hashlib.sha256(server.data).hexdigest()
    assert sorted(p.name for p in path.parent.iterdir()) == [
        *("digests.json", "digests.lock", "tsm-x.h5", "tsm-x.lock")
    ]


def test_afterwards_no_network_is_needed(server: Server, entry: Any, tmp_path: Path) -> None:
    path = fetch(entry(), tmp_path)
    assert fetch(entry(url="http://127.0.0.1:9/gone"), tmp_path) == path
    assert len(server.asked) == 1


@pytest.mark.parametrize("damage", ["file", "no lock file"])
def test_a_damaged_cache_is_filled_again(
    server: Server, entry: Any, tmp_path: Path, damage: str
) -> None:
    path = fetch(entry(), tmp_path)
    good = path.read_bytes()
    if damage == "file":
        path.write_bytes(good[:-7] + b"changed")
    else:
        path.with_name("digests.json").unlink()
    assert fetch(entry(), tmp_path).read_bytes() == good
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xff", b"[]", b'{"tsm-x": 1}', b'{"tsm-x": {"published": 1}}', b"[" * 9999],
)
def test_a_damaged_lock_file_is_told(
    server: Server, entry: Any, tmp_path: Path, content: bytes
) -> None:
    path = fetch(entry(), tmp_path)
    path.with_name("digests.json").write_bytes(content)
    with pytest.warns(UserWarning, match="the lock file .* is not used"):
        fetch(entry(), tmp_path)
    assert len(server.asked) == 2
    fetch(entry(), tmp_path)
    assert len(server.asked) == 2


# Who vouches for a file


@pytest.mark.parametrize("digits", [0, 8])
def test_without_a_whole_digest_the_first_file_is_the_one(
    server: Server, entry: Any, tmp_path: Path, refused: Any, digits: int
) -> None:
    known = entry().sha256[:digits]
    with pytest.warns(UserWarning, match=f"tells {'only 8 digits' if digits else 'no'}"):
        path = fetch(entry(sha256=known), tmp_path)
    assert fetch(entry(sha256=known), tmp_path) == path  # and nothing is said
    path.unlink()
    fetch(entry(sha256=known), tmp_path)
    assert len(server.asked) == 2
    path.unlink()
    server.data += b"another"
    with refused(CheckpointError, "is not the published file"):
        fetch(entry(sha256=known), tmp_path)


def test_a_digest_beside_a_file_proves_nothing(server: Server, entry: Any, tmp_path: Path) -> None:
    """A planted file, with its own digest as earlier versions wrote it, is not what is loaded."""
    good = fetch(entry(), tmp_path).read_bytes()
    cache = downloads.cache_folder()
    other = load_checkpoint(cache / "tsm-x.h5")
    planted = registry.native.save(
        cache / "tsm-x.h5", other.graph, other.weights, other.profile, extra={"evil": "yes"}
    )
    meant = hashlib.sha256(other.profile.to_json().encode()).hexdigest()
    (cache / "tsm-x.sha256").write_text(f"{planted} {meant}\n")
    assert fetch(entry(), tmp_path).read_bytes() == good


def test_the_lock_file_is_where_nobody_else_writes(
    server: Server, entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    (cache / "digests.json").write_text("{}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert fetch(entry(), tmp_path).parent == cache
    assert (cache / "digests.json").read_text() == "{}"
    assert "tsm-x" in (tmp_path / "home" / "tsm_ref" / "digests.json").read_text()
    fetch(entry(), tmp_path)
    assert len(server.asked) == 1


def test_where_everybody_writes_nothing_is_fetched(
    server: Server, entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cache", "home"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    with pytest.raises(WriteError, match=r"ours alone .*set TSM_REF_CACHE"):
        fetch(entry(), tmp_path)
    assert server.asked == []


posix = pytest.mark.skipif(os.name == "nt", reason="links of POSIX")


@posix
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo"])
def test_what_stands_in_the_place_of_the_rest_is_not_written_through(
    server: Server, target: Path, tmp_path: Path, kind: str
) -> None:
    precious, part = tmp_path / "precious", target.with_name("model.pth.part")
    precious.write_bytes(DATA[:1000])
    {
        "link": lambda: part.symlink_to(precious),
        "hard link": lambda: os.link(precious, part),
        "fifo": lambda: os.mkfifo(part),
    }[kind]()
    download(server.url, target, DIGEST)
    assert target.read_bytes() == DATA
    assert precious.read_bytes() == DATA[:1000]
    assert server.asked == [None]


@posix
def test_a_lock_that_is_a_link_is_not_followed(
    server: Server, entry: Any, tmp_path: Path, refused: Any
) -> None:
    (downloads.cache_folder() / "tsm-x.lock").symlink_to(tmp_path / "made")
    with refused(WriteError, "tsm-x.lock"):
        fetch(entry(), tmp_path)
    assert not (tmp_path / "made").exists()


def test_a_file_that_is_no_model(server: Server, entry: Any, tmp_path: Path, refused: Any) -> None:
    server.data = b"<html>moved</html>"
    with (
        refused(CheckpointError, "is not what was published: this is a web page"),
        pytest.warns(UserWarning, match="its publisher tells no SHA-256"),
    ):
        fetch(entry(sha256=""), tmp_path)


def test_one_that_cannot_be_read_is_not_fetched(
    server: Server, entry: Any, tmp_path: Path, refused: Any
) -> None:
    with refused(CheckpointError, "cannot be read: non-local blocks"):
        fetch(entry(readable=False, note="non-local blocks"), tmp_path)
    assert server.asked == []


def _fetch_in_child(entry: registry.Published, folder: Path, done: Any) -> None:
    done.put(str(fetch(entry, folder)))


def test_two_processes_fill_the_cache_at_once(server: Server, entry: Any, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    done = context.Queue()
    children = [
        context.Process(target=_fetch_in_child, args=(entry(), tmp_path, done)) for _ in range(3)
    ]
    for child in children:
        child.start()
    paths = {done.get(timeout=60) for _ in children}
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    (path,) = paths
    assert load_checkpoint(path).graph.nodes == resnet().nodes
    assert len(server.asked) == 1
