"""How an attempt to read an ONNX file fails, and what all attempts together may cost."""

from tsm_ref.errors import CheckpointError
from tsm_ref.system import memory


class NotUnderstood(CheckpointError):
    """An attempt that fails where another assumption about the axes may not."""


class Broken(CheckpointError):
    """The file is wrong under every assumption."""


class Budget:
    """How many elements one file may move about, over all attempts, so that none takes for ever.

    A file may move the more, the more it holds: large networks have large weights. ``one`` is how
    many it may move at once; each takes eight bytes, and several copies are alive together, so it
    is no more than a small part of the memory that is free either; ``--max-memory`` allows more.
    """

    FREE, PER_BYTE, MOST = 2**28, 64, 2**34
    ONE_FREE, ONE_PER_BYTE, ONE_MOST = 2**23, 32, 2**27

    def __init__(self, file_size: int) -> None:
        self.total = self.left = min(self.FREE + self.PER_BYTE * file_size, self.MOST)
        one = min(self.ONE_FREE + self.ONE_PER_BYTE * file_size, self.ONE_MOST)
        self.one = memory.allowed() // 64 or min(one, memory.available() // 128)

    def spend(self, count: int) -> None:
        """Take so many elements off; raises `Broken` where they are not left."""
        self.left -= count
        if self.left < 0:
            raise Broken(f"the file moves more than the {self.total} values accepted for its size")
