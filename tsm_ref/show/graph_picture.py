"""A network as a picture: its blocks, the shifts in them, and the shapes of what goes between.

The SVG needs nothing but itself. Time runs down; a coloured bar is a shift, and each part of it the
share of the channels that read the past, the future, or their own frame. Whoever points at a step
is told its node and its parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby

from tsm_ref.graph import Graph, Node
from tsm_ref.ops_table import Shape
from tsm_ref.show.graph_blocks import Block, Step, blocks
from tsm_ref.show.shift_picture import COLOURS
from tsm_ref.system.terminal import printable

__all__ = ["graph_svg"]

STEP, HIGH, GAP, ASIDE, MARGIN, LANE = 280, 30, 26, 34, 24, 12
"""Width and height of a step, room below it, beside it, around a block, and between two lanes."""
TITLE = 22
INK, PALE, LINE = "#1b1f24", "#57606a", "#8a94a0"
SAID = {
    "BatchNormalization": "bn",
    "GlobalAveragePool": "global average pool",
    "Consensus": "consensus",
    "MaxPool": "max pool",
    "AveragePool": "average pool",
    "HardSwish": "hard swish",
    "HardSigmoid": "hard sigmoid",
    "LeakyRelu": "leaky relu",
    "LogSoftmax": "log softmax",
    "AttentionMask": "attention mask",
    "NonLocal": "non-local",
    "Mul": "multiply",
}


def graph_svg(graph: Graph, inputs: Mapping[str, Shape], title: str = "") -> str:
    """The picture of a network for inputs of these shapes, as SVG.

    Shapes are written without the batch: channels x frames x height x width.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> graph_svg(build_resnet(RESNETS["resnet18"], num_classes=5), {"x": (1, 3, 8, 64, 64)})[:12]
    '<svg xmlns="'
    """
    shapes = graph.shapes(inputs)
    several = [entry.name for entry in graph.inputs] if len(graph.inputs) > 1 else []
    drawn = [_Drawn(block, shapes, graph.parameters, several) for block in blocks(graph, shapes)]
    width = max(MARGIN * 2 + max((d.width for d in drawn), default=0), 460)
    head = f"{printable(title or graph.name)}: {graph.parameter_count:,} parameters"
    y, parts, middle = 88, [], MARGIN + ASIDE / 2 + STEP / 2
    said = "" if several else f"{graph.inputs[0].name}  {_shape(shapes[graph.inputs[0].name])}"
    for block in drawn:
        if said:
            parts.append(_text(middle + 10, y - 4, said, "start"))
            parts.append(_arrow(middle, y - 16, y + 8))
        parts.append(f'<g transform="translate({MARGIN},{y + 8})">{block.svg()}</g>')
        said = _shape(block.gives)
        y += block.height + 8 + GAP
    parts.append(_text(middle + 10, y - 8, f"{graph.outputs[0]}  {said}", "start"))
    height = y + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif" '
            'font-size="13">',
            f"<title>{escape(head)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker>'
            "</defs>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            _text(MARGIN, 28, head, "start", INK, 'font-size="15" font-weight="600"'),
            *_legend(graph),
            *parts,
            "</svg>",
            "",
        ]
    )


def _legend(graph: Graph) -> list[str]:
    """What the colours of the shifts mean, where there are any."""
    if not any(graph.select("TemporalShift")):
        return [_text(MARGIN, 52, "no shift: every frame is seen alone", "start")]
    parts, x = [], MARGIN
    for kind, said in (("past", "reads the past"), ("future", "the future"), ("own", "its frame")):
        parts.append(
            f'<rect x="{x}" y="42" width="14" height="12" fill="{COLOURS[kind]}" stroke="{LINE}"/>'
        )
        parts.append(_text(x + 20, 52, said, "start"))
        x += 34 + 7 * len(said)
    return parts


@dataclass
class _Drawn:
    """A block with a place for every step: a column and a row."""

    block: Block
    shapes: Mapping[str, Shape]
    parameters: Mapping[str, Shape]
    named: Sequence[str] = ()
    column: dict[str, int] = field(default_factory=dict)
    row: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        goes_on: set[str] = set()
        columns = 0
        for step in self.block.steps:
            inside = [name for name in step.inputs if name in self.row]
            self.row[step.value] = 1 + max((self.row[name] for name in inside), default=-1)
            above = next((name for name in inside if name not in goes_on), None)
            if above is None:
                self.column[step.value], columns = columns, columns + 1
            else:
                self.column[step.value] = self.column[above]
                goes_on.add(above)
        self.columns = columns
        self.rows = 1 + max(self.row.values())
        self.aside = self._asides()

    def _asides(self) -> list[tuple[str, Step]]:
        """The arrows that go around steps, each in a lane of its own."""
        found = []
        for step in self.block.steps:
            for name in dict.fromkeys(step.inputs):
                row, column = self.row.get(name, -1), self.column.get(name, 0)
                here = self.column[step.value] == column and self._free(column, row, step)
                if not here and self.row[step.value] - row > 1 and not self._own(column, row, step):
                    found.append((name, step))
        return found

    def _free(self, column: int, row: int, step: Step) -> bool:
        """Whether nothing stands between a row and a step in a column."""
        between = range(row + 1, self.row[step.value])
        return not any(
            self.column[other.value] == column and self.row[other.value] in between
            for other in self.block.steps
        )

    def _own(self, column: int, row: int, step: Step) -> bool:
        """Whether a step of a column to the side has the column for itself from there on."""
        return (
            row >= 0
            and column > self.column[step.value]
            and not any(
                self.column[other.value] == column and self.row[other.value] > row
                for other in self.block.steps
            )
        )

    @property
    def gives(self) -> Shape:
        """The shape of what leaves the block."""
        return self.shapes[self.block.steps[-1].value]

    @property
    def width(self) -> int:
        """Of the frame around it."""
        return ASIDE + self.columns * (STEP + ASIDE) + LANE * len(self.aside) + 8

    @property
    def height(self) -> int:
        """Of the frame around it."""
        return TITLE + self.rows * (HIGH + GAP)

    def svg(self) -> str:
        """The frame, its steps and their arrows."""
        name = printable(self.block.name)
        more = self.block.repeats
        parts = []
        if more:
            name = f"{name} to {printable(more[-1])}: {1 + len(more)} alike"
            parts.append(_frame(6, 6, self.width, self.height))
        parts.append(_frame(0, 0, self.width, self.height))
        parts.append(_text(10, 17, _cut(name, self.width // 7), "start", INK, 'font-weight="600"'))
        for step in self.block.steps:
            parts += [self._arrow(name, step) for name in dict.fromkeys(step.inputs)]
        parts += [self._step(step) for step in self.block.steps]
        return "".join(parts)

    def _place(self, value: str) -> tuple[int, int]:
        """The upper left corner of a step."""
        x = ASIDE // 2 + self.column[value] * (STEP + ASIDE)
        return x, TITLE + 18 + self.row[value] * (HIGH + GAP)

    def _arrow(self, name: str, step: Step) -> str:
        x, y = self._place(step.value)
        if name in self.row:
            from_x, from_y = self._place(name)
            from_x, from_y = from_x + STEP // 2, from_y + HIGH
        else:
            from_x, from_y = ASIDE // 2 + STEP // 2, TITLE
        to_x = x + STEP // 2
        if name in self.named:
            path = f"M{to_x} {TITLE + 2}V{y}"
            said = f"{name}  {_shape(self.shapes[name])}"
            label = _text(to_x + 8, TITLE + 13, said, "start", PALE)
            return label + f'<path d="{path}" fill="none" stroke="{LINE}" marker-end="url(#tip)"/>'
        if (name, step) in self.aside:
            lane = (
                self.columns * (STEP + ASIDE) + ASIDE // 2 + LANE * self.aside.index((name, step))
            )
            path = f"M{from_x} {from_y}v7H{lane}V{y + HIGH // 2}H{x + STEP}"
        elif name in self.row and self.row[step.value] - self.row[name] > 1 and from_x > to_x:
            path = f"M{from_x} {from_y}V{y + HIGH // 2}H{x + STEP}"
        elif from_x == to_x:
            path = f"M{from_x} {from_y}V{y}"
        else:
            path = f"M{from_x} {from_y}v7H{to_x}V{y}"
        line = f'<path d="{path}" fill="none" stroke="{LINE}" marker-end="url(#tip)"/>'
        if name not in self.row or from_x != to_x:
            return line
        return line + _text(from_x + 8, from_y + 20, _shape(self.shapes[name]), "start", PALE)

    def _step(self, step: Step) -> str:
        x, y = self._place(step.value)
        said = _cut(" · ".join(self._said(node) for node in step.nodes), STEP * 10 // 64)
        about = "\n".join(self._about(node) for node in step.nodes)
        shift = step.nodes[0] if step.nodes[0].op == "TemporalShift" else None
        fill = "#f6f8fa" if shift is None else "#ffffff"
        parts = [
            f"<g><title>{escape(about)}</title>",
            f'<rect x="{x}" y="{y}" width="{STEP}" height="{HIGH}" rx="5" fill="{fill}" '
            f'stroke="{LINE}"/>',
        ]
        if shift is None:
            parts.append(_text(x + STEP / 2, y + 20, said, "middle", INK))
        else:
            parts += _bar(shift.attrs["d"], x + 6, y + HIGH - 11, STEP - 12)
            parts.append(_text(x + STEP / 2, y + 15, said, "middle", INK, 'font-size="12"'))
        return "".join([*parts, "</g>"])

    def _said(self, node: Node) -> str:
        """An operation in a few words."""
        if node.op == "Conv":
            return self._conv(node)
        if node.op == "TemporalShift":
            d = node.attrs["d"]
            past, future = sum(v > 0 for v in d), sum(v < 0 for v in d)
            return f"shift: {past} past, {future} future of {len(d)}"
        if node.op == "Linear":
            return f"linear {self.shapes[node.name][1]}"
        if node.op in ("MaxPool", "AveragePool"):
            size = _sides(node.attr("kernel_shape"))
            return f"{SAID[node.op]} {size}{_stride(node)}"
        if node.op == "Clip" and (node.attr("min"), node.attr("max")) == (0, 6):
            return "relu6"
        return SAID.get(node.op, node.op.lower())

    def _conv(self, node: Node) -> str:
        kernel = self.parameters[node.inputs[1]]
        groups = node.attr("group")
        kind = "depthwise" if groups == kernel[0] > 1 else "conv"
        grouped = f", {groups} groups" if 1 < groups < kernel[0] else ""
        return f"{kind} {_sides(kernel[2:])}, {kernel[0]}{grouped}{_stride(node)}"

    def _about(self, node: Node) -> str:
        """What is told of a node when one points at it."""
        lines = [f"{printable(node.name)} ({node.op}): {_shape(self.shapes[node.name])}"]
        if node.op == "TemporalShift":
            lines += [_reads(node)]
        lines += [
            f"{printable(name)}: {'x'.join(map(str, self.parameters[name]))}"
            for name in node.inputs
            if name in self.parameters
        ]
        return "; ".join(lines)


def _reads(node: Node) -> str:
    """Which channels of a shift read which frame."""
    runs, first = [], 0
    for d, run in groupby(node.attrs["d"]):
        last = first + len(list(run)) - 1
        runs.append(f"channels {first}..{last} read t{-d:+d}" if d else f"{first}..{last} read t")
        first = last + 1
    return ", ".join(runs) + f"; fill {node.attr('fill')}"


def _bar(d: Sequence[int], x: float, y: float, width: float) -> list[str]:
    """A shift as a bar: the channels in order, coloured by what they read."""
    parts, done = [], 0
    for kind, run in groupby("past" if v > 0 else "future" if v < 0 else "own" for v in d):
        count = len(list(run))
        left, right = x + width * done / len(d), x + width * (done + count) / len(d)
        parts.append(
            f'<rect x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="7" '
            f'fill="{COLOURS[kind]}"/>'
        )
        done += count
    return parts


def _frame(x: int, y: int, width: int, height: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="#ffffff" '
        f'stroke="{LINE}"/>'
    )


def _arrow(x: float, top: float, bottom: float) -> str:
    return f'<path d="M{x} {top}V{bottom}" stroke="{LINE}" marker-end="url(#tip)"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "middle", colour: str = PALE, more: str = ""
) -> str:
    shown = escape(printable(text))
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" {more}>{shown}</text>'


def _shape(shape: Shape) -> str:
    return "×".join(str(size) for size in shape[1:])


def _sides(kernel: Sequence[int]) -> str:
    """A kernel as people write it: 3×3, and its frames where it has several."""
    return "×".join(str(size) for size in (kernel if kernel[0] > 1 else kernel[1:]))


def _stride(node: Node) -> str:
    strides = node.attr("strides")
    return "" if set(strides) <= {1} else f", stride {max(strides)}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
