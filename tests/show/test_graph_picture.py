"""A network as a picture: blocks that are blocks, every node once, shapes on the edges."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

import tsm_ref
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.model.meaning import input_shapes
from tsm_ref.models import ARCHITECTURES, build_graph
from tsm_ref.profile import ShiftRule
from tsm_ref.show.graph_blocks import blocks, steps
from tsm_ref.show.graph_picture import graph_svg

CLIP = {"x": (1, 3, 8, 224, 224)}
FILES = sorted((Path(__file__).parent.parent / "data").glob("onnx-[!b]*.onnx"))


def resnet(name: str, placement: str = "blockres") -> Graph:
    """A network of 400 classes with the shift of MIT."""
    return build_graph(name, num_classes=400, placement=placement, shift=ShiftRule("mit"))


def words(svg: str) -> Counter[str]:
    """The texts that the picture shows, counted."""
    texts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return Counter("".join(text.itertext()) for text in texts)


def test_a_resnet_is_its_blocks_and_equal_ones_are_one() -> None:
    graph = resnet("resnet50")
    found = [(block.name, block.repeats) for block in blocks(graph, graph.shapes(CLIP))]
    assert found == [
        ("conv1 to maxpool", ()),
        *[("layer1.0", ()), ("layer1.1", ("layer1.2",))],
        *[("layer2.0", ()), ("layer2.1", ("layer2.2", "layer2.3"))],
        *[("layer3.0", ()), ("layer3.1", tuple(f"layer3.{k}" for k in range(2, 6)))],
        *[("layer4.0", ()), ("layer4.1", ("layer4.2",))],
        ("avgpool to consensus", ()),
    ]


def test_shifts_and_shapes_can_be_read() -> None:
    graph = resnet("resnet50")
    shown = words(graph_svg(graph, CLIP, "mine"))
    assert shown["mine: 24,327,632 parameters"] == 1
    assert shown["shift: 8 past, 8 future of 64"] == 1
    assert shown["shift: 32 past, 32 future of 256"] == 2
    assert shown["conv 3×3, 128, stride 2 · bn · relu"] == 1
    assert shown["layer3.1 to layer3.5: 5 alike"] == 1
    assert shown["x  3×8×224×224"] == 1
    assert shown["2048×8×7×7"] > 3
    assert shown["consensus  400"] == 1
    assert shown["reads the past"] == 1


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_node_is_in_one_step_and_every_step_in_one_block(name: str) -> None:
    model = tsm_ref.build(name, engine="numpy")
    nodes = [node.name for step in steps(model.graph) for node in step.nodes]
    assert sorted(nodes) == sorted(node.name for node in model.graph.nodes)
    shapes = model.graph.shapes(model.input_shapes())
    made = blocks(model.graph, shapes)
    count = sum(len(block.steps) * (1 + len(block.repeats)) for block in made)
    assert count == len(steps(model.graph))
    ElementTree.fromstring(graph_svg(model.graph, model.input_shapes()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_others_are_drawn(path: Path) -> None:
    found = load_checkpoint(path)
    ElementTree.fromstring(graph_svg(found.graph, input_shapes(found.graph, found.profile)))


def test_a_network_of_two_inputs_names_both() -> None:
    model = tsm_ref.build("ts-can", engine="numpy")
    shown = words(graph_svg(model.graph, model.input_shapes()))
    assert shown["motion  3×20×36×36"] == shown["appearance  3×1×36×36"] == 1


def test_a_network_without_shifts_says_so() -> None:
    graph = resnet("resnet18", "none")
    assert words(graph_svg(graph, CLIP))["no shift: every frame is seen alone"] == 1


def test_names_are_text() -> None:
    """A file may call a node what it likes."""
    name = "</title><script>alert(1)</script>\x1b[31m"
    node = Node(name, "Relu", ("x",))
    graph = Graph(name, (Input("x", ("N", 3, "T", "H", "W")),), (node,), (name,), {})
    svg = graph_svg(graph, CLIP, name)
    assert "<script" not in svg
    assert "\x1b" not in svg
    ElementTree.fromstring(svg)
