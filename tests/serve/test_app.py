"""The routes: the answers of the command line, and a status with a reason for the rest."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

import tsm_ref
from tests.serve.conftest import SAMPLES, Running
from tsm_ref.recognition import recognize
from tsm_ref.recognition.render import as_tree

HOSTILE = (
    "../../../etc/passwd",
    "<script>alert(1)</script>.mp4",
    'a"b\r\nSet-Cookie: x=1.mp4',
    "/dev/zero",
    "file:///etc/passwd",
    "x" * 5000,
    "\x00\x1b[31m\u202e.mp4",
)


def problem(answer: Any, status: int) -> str:
    """The sentence of an error, which has this status and the one form of all errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    tree = answer.json()
    assert set(tree) == {"type", "title", "status", "detail"}
    assert tree["status"] == status
    assert "\n" not in tree["detail"]
    return str(tree["detail"])


@pytest.fixture(autouse=True)
def nothing_is_left(server: Running) -> Any:
    yield
    for _ in range(100):
        if not server.spooled():
            return
        time.sleep(0.05)
    raise AssertionError(f"temporary files were left: {server.spooled()}")


def untimed(tree: dict[str, Any]) -> dict[str, Any]:
    tree = json.loads(json.dumps(tree))
    tree["input"]["path"], tree["timing"] = "", {}
    return tree


def test_the_answer_is_that_of_the_command_line(client: Any, pan: bytes) -> None:
    found = client.post("/recognize", params={"name": "mine.mp4"}, content=pan)
    assert found.status_code == 200
    tree = found.json()
    schema = resources.files("tsm_ref.recognition").joinpath("recognition.schema.json").read_text()
    jsonschema.validate(tree, json.loads(schema))
    assert tree["input"]["path"] == "mine.mp4"
    model = tsm_ref.load("camera-motion", engine="numpy")
    assert untimed(tree) == untimed(as_tree(recognize(model, SAMPLES / "pan_left.mp4")))


def test_a_form_is_the_same_as_a_body(client: Any, pan: bytes) -> None:
    whole = client.post("/recognize", content=pan).json()
    form = client.post("/recognize", files={"file": ("clip.mp4", pan, "video/mp4")}).json()
    assert form["input"]["path"] == "clip.mp4"
    assert untimed(form) == untimed(whole)


def test_parameters_are_followed(client: Any, pan: bytes) -> None:
    asked = {"top": "2", "window": "1.5", "model": "camera-motion"}
    tree = client.post("/recognize", params=asked, content=pan).json()
    assert len(tree["predictions"]) == 2
    assert tree["sampling"]["window"] == 1.5
    tree = client.post("/recognize", params={"sampling": "uniform"}, content=pan).json()
    assert tree["sampling"]["policy"] == "uniform"


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_given_back_and_never_opened(client: Any, pan: bytes, name: str) -> None:
    found = client.post("/recognize", params={"name": name}, content=pan).json()
    assert found["input"]["path"] == name[:255]
    assert found["predictions"][0]["label"] == "pan left"


def test_the_name_in_a_form_is_a_text_too(client: Any, pan: bytes) -> None:
    name = '../"<b>.mp4'
    found = client.post("/recognize", files={"file": (name, pan)}).json()
    assert found["input"]["path"] == name


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"model": "../mine.h5"}, "there is no model"),
        ({"top": "0"}, "`top`"),
        ({"top": "9" * 400}, "`top`"),
        ({"window": "nan"}, "`window`"),
        ({"window": "1", "sampling": "dense"}, "window"),
        ({"sampling": "sometimes"}, "must be one of uniform"),
        ({"crops": "2"}, "must be one of 1, 3"),
        ({"verbose": "1"}, "there is no parameter 'verbose'"),
    ],
)
def test_parameters_that_cannot_be(client: Any, pan: bytes, asked: Any, said: str) -> None:
    assert said in problem(client.post("/recognize", params=asked, content=pan), 400)


def test_a_parameter_is_given_once(client: Any, pan: bytes) -> None:
    found = client.post("/recognize?top=1&top=2", content=pan)
    assert "`top` is given 2 times" in problem(found, 400)


def test_what_is_no_video(client: Any, pan: bytes) -> None:
    assert "not a video" in problem(client.post("/recognize", content=b"hello" * 100), 422)
    assert "cut" in problem(client.post("/recognize", content=pan[:20000]), 422)
    assert "empty" in problem(client.post("/recognize", content=b""), 400)
    said = {"content-type": "application/json"}
    assert "json" in problem(client.post("/recognize", content=b"{}", headers=said), 415)
    playlist = b"ffconcat version 1.0\nfile /etc/passwd\n"
    assert "passwd" not in problem(client.post("/recognize", content=playlist), 422)


def test_what_is_too_large(client: Any) -> None:
    large = bytes((2 << 20) + 1)
    assert "2097152 bytes" in problem(client.post("/recognize", content=large), 413)
    pieces = (large[i : i + 9999] for i in range(0, len(large), 9999))
    assert "2097152 bytes" in problem(client.post("/recognize", content=pieces), 413)
    found = client.post("/recognize", files={"file": ("a", large)})
    assert "2097152 bytes" in problem(found, 413)


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("multipart/form-data", b"x", "no boundary"),
        ("multipart/form-data; boundary=b", b"nonsense", "cannot be read"),
        ("multipart/form-data; boundary=b", b"", "cut"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            "cut",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="top"\r\n\r\n3\r\n--b--\r\n',
            "no file",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\n3\r\n'
            b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\n3\r\n--b--\r\n',
            "several files",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"x" * 20000, "header"),
    ],
)
def test_forms_that_cannot_be(client: Any, kind: str, body: bytes, said: str) -> None:
    found = client.post("/recognize", content=body, headers={"content-type": kind})
    assert said in problem(found, 400)


def raw(server: Running, data: bytes) -> bytes:
    """What comes back for bytes that are no whole request."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), 30) as line:
        line.sendall(data)
        got = b""
        while b"detail" not in got and (more := line.recv(65536)):
            got += more
    return got


def test_what_never_ends(server: Running) -> None:
    head = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\n"
    form = b"Content-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
    cases = {
        head + b"Content-Length: 1000\r\n\r\nabc": b"did not come within 5 s",
        head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n": b"did not come within 5 s",
        head + form + b"Content-Length: 1000\r\n\r\n" + part: b"did not come within 5 s",
        head + b"X: never": b"no request came within 5 s",
        b"": b"no request came within 5 s",
    }
    with ThreadPoolExecutor(len(cases)) as pool:
        found = list(pool.map(lambda data: raw(server, data), cases))
    for got, said in zip(found, cases.values(), strict=True):
        assert got.startswith(b"HTTP/1.1 408 ")
        assert said in got


def test_who_goes_on_sending_after_the_answer_is_left(server: Running) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), 30) as line:
        size = 10 << 40
        line.sendall(b"POST /recognize HTTP/1.1\r\nHost: localhost\r\n")
        line.sendall(f"Content-Length: {size}\r\n\r\n".encode())
        assert line.recv(9999).startswith(b"HTTP/1.1 413 ")

        def go_on() -> None:
            for _ in range(600):
                line.sendall(bytes(1000))
                time.sleep(0.05)

        with pytest.raises(ConnectionError):
            go_on()


def test_what_is_no_http(server: Running) -> None:
    got = raw(server, b"\x16\x03\x01 nonsense\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in got


def test_a_client_that_hangs_up(server: Running, client: Any, pan: bytes) -> None:
    def hang_up(count: int) -> None:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), 30) as line:
            head = f"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(pan)}\r\n"
            line.sendall(head.encode() + b"\r\n" + pan[: len(pan) * count // 63])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hang_up, range(64)))
    for _ in range(200):
        if client.get("/health").json()["files"] == 0:
            break
        time.sleep(0.05)
    assert client.get("/health").json()["files"] == 0
    assert client.post("/recognize", content=pan).status_code == 200


def test_other_names_and_origins_are_refused(client: Any, pan: bytes) -> None:
    bent = client.get("/health", headers={"host": "evil.example"})
    assert "evil.example" in problem(bent, 421)
    for origin in ("http://evil.example", "null", "http://localhost:1"):
        found = client.post("/recognize", content=pan, headers={"origin": origin})
        assert "may not ask" in problem(found, 403)
    own = {"origin": str(client.base_url).rstrip("/")}
    assert client.post("/recognize", content=pan, headers=own).status_code == 200


def test_what_is_not_there(client: Any) -> None:
    assert "nothing at '/etc/passwd'" in problem(client.get("/etc/passwd"), 404)
    found = client.put("/recognize", content=b"x")
    assert "PUT is not for" in problem(found, 405)
    assert found.headers["allow"] == "POST"


def test_what_it_says_of_itself(client: Any) -> None:
    tree = client.get("/models").json()
    assert tree["default"] == "camera-motion"
    (model,) = tree["models"]
    assert model["streams"] is True
    assert "pan left" in model["classes"]
    assert client.get("/health").json()["status"] == "ok"
    for path in ("/", "/models", "/health"):
        assert client.get(path).headers["x-content-type-options"] == "nosniff"


def test_metrics_can_be_read_by_prometheus(client: Any, pan: bytes) -> None:
    from prometheus_client.parser import text_string_to_metric_families as parse

    client.post("/recognize", content=pan)
    found = client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in parse(found.text)}
    counted = {
        (sample.labels["path"], sample.labels["status"]): sample.value
        for sample in families["tsm_requests"].samples
    }
    assert counted["/recognize", "200"] >= 1
    assert {path for path, _ in counted} <= {
        *("/", "/recognize", "/stream", "/models", "/health", "/metrics", "/openapi.json", "other")
    }
    assert families["tsm_recognition_seconds"].type == "histogram"
    assert families["process_resident_memory_bytes"].samples[0].value > 1e7


def test_the_document_describes_the_routes(client: Any) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found = document
        for part in reference.split("/"):
            found = found[part]
    schema = document["components"]["schemas"]["Recognition"]
    jsonschema.Draft202012Validator.check_schema(schema)
