"""One self-contained page for a clip or a batch: what was seen, when, how sure, and by which model.

File names and labels are hostile until they are escaped, and the page forbids itself every script
but its own by their digest.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tsm_ref.show.cues import said, stretches
from tsm_ref.show.thumbnails import Thumbnail, thumbnails
from tsm_ref.system.terminal import printable

__all__ = ["Shown", "report"]

Tree = dict[str, Any]
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Shown:
    """One clip of a report: the JSON of its recognition, or why there is none."""

    path: str
    result: Tree | None = None
    error: str = ""


def report(
    clips: Sequence[Shown],
    card: str = "",
    pictures: Callable[[Tree], Sequence[Thumbnail]] = thumbnails,
) -> str:
    """The page as HTML. `card` is the model card as text; `pictures` gives the frames of a clip.

    >>> report([Shown("a.mp4", error="the file is empty")]).splitlines()[0]
    '<!doctype html>'
    """
    script, style = _own("page.js"), _own("page.css") + _weights()
    rules = (
        f"default-src 'none'; img-src data:; style-src {_rule(style)}; script-src {_rule(script)}"
    )
    good = [clip for clip in clips if clip.result is not None]
    title = _text(Path(clips[0].path).name) if len(clips) == 1 else f"{len(clips)} clips"
    articles = "\n".join(_article(place, clip, pictures) for place, clip in enumerate(clips))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}: what was recognised</title>\n"
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n<main>\n'
        f"<h1>{title}</h1>\n{_summary(clips, good)}\n{_search() if len(clips) > 1 else ''}\n"
        f"<div>\n{articles}\n</div>\n{_card(card)}\n</main>\n<script>{script}</script>\n"
        "</body>\n</html>\n"
    )


def _own(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _weights() -> str:
    """How wide the segments of a timeline are: classes, as the page allows no style of elements."""
    return "".join(f".w{k} {{ flex-grow: {k}; }}\n" for k in range(1, 101))


def _rule(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _text(text: object) -> str:
    """Text from a file or a file name as HTML: what is not printable is escaped twice."""
    return escape(printable(str(text)))


def _summary(clips: Sequence[Shown], good: Sequence[Shown]) -> str:
    if not good:
        return f'<p class="soft">None of {len(clips)} was recognised.</p>'
    tree = good[0].result or {}
    total = sum(clip.result["timing"]["total"] for clip in good if clip.result)
    words = [f"{len(good)} of {len(clips)} recognised" if len(clips) > 1 else "recognised"]
    model = tree["model"]
    half = " in bfloat16" if model["precision"] == "bfloat16" else ""
    words += [f"{model['name']} on {model['engine']}{half}", f"{total:.2f} s"]
    if tree["model"]["profile"]["measured"]:
        words.append(f"measured accuracy of the model: {tree['model']['profile']['measured']}")
    return f'<p class="soft">{" · ".join(_text(word) for word in words)}</p>'


def _search() -> str:
    choices = (
        ("place", "as they were given"),
        ("probability", "least certain first"),
        ("label", "label"),
        ("name", "path"),
    )
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in choices)
    return (
        '<form role="search"><label>Find a path or a label'
        '<input id="search" type="search" autocomplete="off"></label>'
        f'<label>Order<select id="order">{options}</select></label>'
        '<span id="count" class="soft" role="status"></span></form>'
    )


def _article(place: int, clip: Shown, pictures: Callable[[Tree], Sequence[Thumbnail]]) -> str:
    tree = clip.result
    best = tree["predictions"][0] if tree else {"label": "", "probability": -1}
    found = f"{clip.path} {best['label']}" if tree else f"{clip.path} {clip.error}"
    if tree:
        found += "".join(f" {row['label']}" for row in tree["segments"])
    head = (
        f'<article class="{"clip" if tree else "failed"}" data-place="{place}" '
        f'data-name="{_text(clip.path)}" data-label="{_text(best["label"])}" '
        f'data-probability="{best["probability"]:.6f}" data-text="{_text(found.lower())}">'
        f"<h2>{_text(clip.path)}</h2>"
    )
    if tree is None:
        return f'{head}<p class="answer">{_text(clip.error)}</p></article>'
    answer = said(tree)
    if len(tree["segments"]) > 1 and "heads" not in tree:
        answer = " → ".join(row["label"] for row in stretches(tree))
    frames = pictures(tree)
    parts = [_timeline(tree), _frames(frames), _classes(tree), _warnings(tree), _facts(tree)]
    return f'{head}<p class="answer">{_text(answer)}</p>{"".join(parts)}</article>'


def _classes(tree: Tree) -> str:
    """The best classes, of each head where there are several."""
    if "heads" in tree:
        return "".join(
            _classes_of(each, f"The best classes of the head {head}")
            for head, each in tree["heads"].items()
        )
    apart = "".join(
        _classes_of(each, f"{name} alone, of weight {each['weight']:g}")
        for name, each in tree.get("streams", {}).items()
    )
    return _classes_of(tree, "The best classes of the whole clip") + apart


def _classes_of(tree: Tree, caption: str) -> str:
    rows = "".join(
        f'<tr><td>{_text(row["label"])}</td><td><svg class="bar" width="{row["probability"]:.2%}" '
        f'aria-hidden="true"></svg></td><td>{row["probability"]:.1%}</td></tr>'
        for row in tree["predictions"]
    )
    return (
        f'<table class="classes"><caption class="soft">{_text(caption)}</caption>'
        f"<tbody>{rows}</tbody></table>"
    )


def _timeline(tree: Tree) -> str:
    """Segments as buttons that are as wide as they are long, by the weight of their column."""
    if len(tree["segments"]) < 2:
        return ""
    buttons = "".join(_button(row) for row in tree["segments"])
    return (
        f'<div class="timeline" role="group" aria-label="timeline">{buttons}</div>'
        '<p class="soft told" role="status"></p>'
    )


def _button(row: Tree) -> str:
    told = f"{row['start']:.2f} to {row['end']:.2f} s: {row['label']} ({row['probability']:.1%})"
    weight = min(100, max(1, round(10 * (row["end"] - row["start"]))))
    return (
        f'<button type="button" class="w{weight}" aria-pressed="false" aria-label="{_text(told)}" '
        f'title="{_text(told)}" data-start="{row["start"]}" data-end="{row["end"]}">'
        f"{_text(row['label'])}</button>"
    )


def _frames(frames: Sequence[Thumbnail]) -> str:
    figures = "".join(
        f'<figure data-time="{frame.time}"><img src="{frame.url}" decoding="async" '
        f'alt="frame {frame.index}"><figcaption>{frame.time:.2f} s</figcaption></figure>'
        for frame in frames
    )
    return f'<div class="frames">{figures}</div>' if figures else ""


def _warnings(tree: Tree) -> str:
    rows = "".join(f"<li>{_text(warning)}</li>" for warning in tree["warnings"])
    return f'<ul class="soft">{rows}</ul>' if rows else ""


def _facts(tree: Tree) -> str:
    """What is needed to see it again, folded away."""
    sampling = {k: v for k, v in tree["sampling"].items() if k not in ("indices", "times")}
    model = {k: v for k, v in tree["model"].items() if k != "profile"}
    groups = (
        ("input", tree["input"]),
        ("model", model),
        ("profile", tree["model"]["profile"] | {"sampling": sampling}),
        ("seconds", tree["timing"]),
    )
    rows = "".join(
        f'<tr><th scope="row">{_text(f"{group}.{name}")}</th><td>{_text(value)}</td></tr>'
        for group, tree_ in groups
        for name, value in _flat(tree_)
    )
    path = tree["input"]["path"]
    return (
        "<details><summary>Input, model, profile, timings</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="facts of {_text(path)}">'
        f'<table class="facts"><tbody>{rows}</tbody></table></div></details>'
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _card(card: str) -> str:
    if not card:
        return ""
    return (
        "<details><summary>Model card</summary>"
        f'<pre class="scroll" tabindex="0">{escape(card)}</pre></details>'
    )
