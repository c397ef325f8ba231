"""Output files by what they hold: written whole or not at all, with the path in every error."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tsm_ref.errors import UsageError, WriteError
from tsm_ref.show.cues import Tree, edl, srt, timeline_csv, vtt
from tsm_ref.show.film import ENDINGS, save_video
from tsm_ref.show.plot import KINDS, plot
from tsm_ref.show.report import Shown, report
from tsm_ref.system.atomic import final_target, replace_file

__all__ = ["Pictures", "write_file"]


def write_file(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write a file, whole or not at all; raises `WriteError` with the path."""
    raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    try:
        target = final_target(Path(path))
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder, and a file name is needed")
        replace_file(target, raw)
    except OSError as error:
        raise WriteError(f"{path}: the file cannot be written: {error.strerror}") from None
    except ValueError:
        raise WriteError(f"{os.fspath(path)!r}: a path cannot contain a zero byte") from None


SUBTITLES: Mapping[str, Callable[[Tree], str]] = {".srt": srt, ".vtt": vtt}
CUTS: Mapping[str, Callable[[Tree], str]] = {".edl": edl, ".csv": timeline_csv}


@dataclass(frozen=True)
class Pictures:
    """What to make of the results, by the paths that the options give; all but the report of one.

    Raises `UsageError` for an ending that names no kind, and for what shows one clip where there
    are several.
    """

    report: str | None = None
    plot: str | None = None
    subtitles: str | None = None
    edl: str | None = None
    save_video: str | None = None

    def check(self, count: int) -> None:
        """See before anything is run that all of it can be made of so many clips."""
        for field in fields(self):
            path = getattr(self, field.name)
            if path is not None and not Path(path).parent.is_dir():
                raise WriteError(f"{path}: its folder is not there")
        kinds = (
            *(("plot", KINDS), ("subtitles", tuple(SUBTITLES)), ("edl", tuple(CUTS))),
            ("save-video", ENDINGS),
        )
        for option, endings in kinds:
            path = getattr(self, option.replace("-", "_"))
            if path is None:
                continue
            if Path(path).suffix.lower() not in endings:
                raise UsageError(
                    f"--{option} {path}: the ending must be one of {', '.join(endings)}"
                )
            if count != 1:
                raise UsageError(f"--{option} shows one video, and {count} were given")

    def write(self, clips: Sequence[Shown], card: str = "") -> tuple[str, ...]:
        """Make every file that was asked for; returns what the user should know.

        Raises `WriteError` and `MissingDependency`.
        """
        if self.report is not None:
            write_file(self.report, report(clips, card))
        tree = clips[0].result
        if tree is None:
            return ()
        if self.plot is not None:
            write_file(self.plot, plot(tree, Path(self.plot).suffix.lower()[1:]))
        if self.subtitles is not None:
            write_file(self.subtitles, SUBTITLES[Path(self.subtitles).suffix.lower()](tree))
        if self.edl is not None:
            write_file(self.edl, CUTS[Path(self.edl).suffix.lower()](tree))
        return () if self.save_video is None else save_video(tree, self.save_video)
