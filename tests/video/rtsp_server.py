"""A small RTSP server (RFC 2326) for tests: H.264 (RFC 6184) over the same TCP connection."""

import base64
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SOURCE, TICKS, MOST = 0x51, 90_000, 1_200


def pictures_of(path: Path) -> list[list[bytes]]:
    """The NAL units of each picture of a raw H.264 file (ITU-T H.264, annex B)."""
    made: list[list[bytes]] = [[]]
    for unit in re.split(rb"\x00{2,3}\x01", path.read_bytes()):
        if unit:
            made[-1].append(unit)
            if unit[0] & 31 in (1, 5):  # a slice: these files have one a picture
                made.append([])
    return made[:-1]


class RtspServer:
    """Serves pictures, `rate` a second, to everybody who asks, and ends as it is told.

    ``begin`` is the first picture that is sent; a server that is ``live`` promises no length. The
    ``end`` is "bye", as RTCP says it, "drop" in the middle of a packet, or "silence".
    """

    def __init__(
        self,
        pictures: Sequence[list[bytes]],
        *,
        rate: int = 25,
        begin: int = 0,
        count: int | None = None,
        live: bool = False,
        end: str = "bye",
        password: str | None = None,
    ) -> None:
        self._pictures, self._rate = pictures, rate
        self._last = len(pictures) if count is None else begin + count
        self._begin, self._end, self._password = begin, end, password
        whole = (len(pictures) - begin) / rate
        length = "" if live else f"a=range:npt=0-{whole:.3f}\r\n"
        parameters = [unit for unit in pictures[0] if unit[0] & 31 in (7, 8)]
        sets = ",".join(base64.b64encode(unit).decode() for unit in parameters)
        self._description = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=clip\r\nt=0 0\r\n"
            f"{length}m=video 0 RTP/AVP 96\r\nc=IN IP4 127.0.0.1\r\na=rtpmap:96 H264/{TICKS}\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\na=control:track\r\n"
        )
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"

    @contextmanager
    def running(self) -> Iterator[str]:
        """The address of its pictures, while it serves them."""
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        try:
            yield f"rtsp://{self.host}/clip"
        finally:
            self._over.set()
            self._listening.close()
            with socket.socket() as wake:
                wake.connect_ex(("127.0.0.1", int(self.host.split(":")[1])))
            thread.join(5)

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                try:
                    self._answer(connection)
                except OSError:  # the client has gone
                    continue

    def _answer(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while (request := self._request(file)) is not None:
            method, headers = request
            body, more, status = "", "", "200 OK"
            if self._password is not None and "authorization" not in headers:
                status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="clips"\r\n'
            elif method == "OPTIONS":
                more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body, more = self._description, "Content-Type: application/sdp\r\n"
            elif method in ("SETUP", "PLAY"):
                transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                more = "Session: 1\r\n" + (transport if method == "SETUP" else "")
            if not self._allowed(headers):
                status, more, body = "403 Forbidden", "", ""
            connection.sendall(
                f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if method == "PLAY" and status == "200 OK":
                self._play(connection)
                return

    def _allowed(self, headers: dict[str, str]) -> bool:
        given = headers.get("authorization", "").removeprefix("Basic ")
        return (
            self._password is None
            or not given
            or base64.b64decode(given) == f"me:{self._password}".encode()
        )

    @staticmethod
    def _request(file: object) -> tuple[str, dict[str, str]] | None:
        lines: list[str] = []
        while (line := file.readline().decode().strip()) or not lines:  # type: ignore[attr-defined]
            if not line:
                return None
            lines.append(line)
        pairs = (line.split(":", 1) for line in lines[1:])
        return lines[0].split()[0], {name.lower(): value.strip() for name, value in pairs}

    def _play(self, connection: socket.socket) -> None:
        number = 0
        now = time.time() + 2_208_988_800  # NTP counts from 1900
        report = struct.pack(
            ">BBHIIIIII", 0x80, 200, 6, SOURCE, int(now), 0, 0, 0, 0
        )  # when the first tick was (RFC 3550, 6.4.1)
        self._send(connection, 1, report)
        for index, picture in enumerate(self._pictures[self._begin : self._last]):
            ticks = index * TICKS // self._rate
            packets = [part for unit in picture for part in _packets(unit)]
            for k, payload in enumerate(packets):
                last = k == len(packets) - 1
                head = struct.pack(">BBHII", 0x80, 96 | last << 7, number & 0xFFFF, ticks, SOURCE)
                self._send(connection, 0, head + payload)
                number += 1
        if self._end == "bye":
            self._send(connection, 1, struct.pack(">BBHI", 0x81, 203, 1, SOURCE))
        elif self._end == "drop":
            connection.sendall(b"$\0\4\0" + bytes(20))
        elif self._end == "silence":
            self._over.wait(20)

    @staticmethod
    def _send(connection: socket.socket, channel: int, packet: bytes) -> None:
        connection.sendall(b"$" + struct.pack(">BH", channel, len(packet)) + packet)


def _packets(unit: bytes) -> Iterator[bytes]:
    """A NAL unit as one payload, or in fragments (RFC 6184, 5.8)."""
    if len(unit) <= MOST:
        yield unit
        return
    parts = [unit[at : at + MOST] for at in range(1, len(unit), MOST)]
    for k, part in enumerate(parts):
        place = (k == 0) << 7 | (k == len(parts) - 1) << 6
        yield bytes([unit[0] & 0xE0 | 28, place | unit[0] & 31]) + part
