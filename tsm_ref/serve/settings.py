"""How much of everything a server allows."""

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Bounds, all of them kept: what is above is answered with a status, never queued without end.

    ``max_bytes`` is the largest file, ``timeout`` the most seconds in which one is sent, and again
    in which it is recognised, and for which a stream may be silent. ``workers`` files are
    recognised at a time while ``queue`` more are sent or wait; ``streams`` connections stream.
    ``grace`` are the seconds that a server takes to finish when it is told to stop. ``isolate`` is
    as ``--isolate``, with ``max_memory`` bytes for each process. ``names`` are those by which the
    server may be called besides the address that it listens on; `host` is that address.
    """

    host: str = "127.0.0.1"
    max_bytes: int = 256 << 20
    timeout: float = 120.0
    workers: int = 1
    queue: int = 64
    streams: int = 8
    grace: float = 30.0
    isolate: bool = False
    max_memory: int = 0
    names: tuple[str, ...] = ()

    @property
    def places(self) -> int:
        """Files that are here at a time, sent, waiting or recognised."""
        return self.workers + self.queue
