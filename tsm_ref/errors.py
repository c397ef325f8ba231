"""Every error that tsm_ref raises on purpose, and the exit code that the command line gives it.

::

    TsmError                    1   our own bug, or an error that has no better name
    ├── UsageError              2   an option or argument that cannot be
    │   └── MissingDependency   2   an optional package is needed and not installed
    ├── VideoError              3   a video that cannot be read
    ├── CheckpointError         4   a model file that cannot be used
    ├── WriteError              5   an output that cannot be written
    ├── SomeInputsFailed        6   a batch in which at least one input failed
    └── GraphError              4   a network that is inconsistent
        └── NotStreamable       4   a network that cannot run one frame at a time

Interrupting with Ctrl-C exits with 130. Inner layers raise short sentences; the outermost layer
adds the name of the file.
"""

from typing import Self


class TsmError(Exception):
    """The root of the tree; `exit_code` is what ``python -m tsm_ref.infer`` returns for it."""

    exit_code = 1

    def about(self, name: object) -> Self:
        """The same error with the name of a file in front of its sentence.

        >>> str(VideoError("the file is empty").about("clip.mp4"))
        'clip.mp4: the file is empty'
        """
        self.args = (f"{name}: {self}",)
        return self


class UsageError(TsmError):
    """An option, an argument or a combination of them that cannot be carried out."""

    exit_code = 2


class MissingDependency(UsageError):
    """An optional package is needed for what was asked, and it is not installed.

    >>> str(MissingDependency("av", "decode a video"))
    "the package 'av' is needed to decode a video: pip install av"
    """

    def __init__(self, package: str, purpose: str) -> None:
        super().__init__(f"the package {package!r} is needed to {purpose}: pip install {package}")
        self.package = package


class VideoError(TsmError):
    """A video that is missing, damaged, refused, or in which there is no picture."""

    exit_code = 3


class CheckpointError(TsmError):
    """A model file that is missing, damaged, refused, or not what the profile says."""

    exit_code = 4


class WriteError(TsmError):
    """An output that could not be written; what stood there before is untouched."""

    exit_code = 5


class SomeInputsFailed(TsmError):
    """At least one input of a batch failed; the others were carried out."""

    exit_code = 6


class GraphError(TsmError):
    """A network whose parts do not fit together: a shape, a name, an op or an attribute."""

    exit_code = 4


class NotStreamable(GraphError):
    """A network that cannot run one frame at a time; the message names the node and the reason."""
