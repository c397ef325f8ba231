"""What a stream is asked for, call by call: late outputs, peeks, ends, refusals, interruptions."""

import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tsm_ref
from tests.engine.stream.families import BASIC, clip, engine, family, in_time, same
from tsm_ref.engine import make_engine
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import GraphError, NotStreamable, UsageError
from tsm_ref.graph import Node
from tsm_ref.models import build_resnet, random_weights
from tsm_ref.profile import ShiftRule


def test_every_output_arrives_delay_frames_late():
    graph, _ = family("resnet, bi-directional")
    stream = Stream(engine("resnet, bi-directional", "numpy"))
    x = clip(graph, 1, 6)["x"]
    assert stream.delay == 3  # one frame for each of the three shifts
    given = [stream.step(x[0, :, t]) is None for t in range(6)]
    assert given == [True, True, True, False, False, False]
    assert stream.flush().shape == (1, 3, 5)
    assert stream.frames.tolist() == [6]


def test_a_stride_in_time_gives_an_output_every_other_step():
    graph, _ = family("temporal pools")
    stream = Stream(engine("temporal pools", "numpy"))
    x = clip(graph, 1, 12)["x"]
    given = [stream.step(x[0, :, t]) is not None for t in range(12)]
    assert given[7:] in ([True, False] * 2 + [True], [False, True] * 2 + [False])


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("name", ["resnet, replicate", "temporal taps", "a stride in time"])
def test_a_peek_changes_nothing(name, kind):
    graph, _ = family(name)
    x = clip(graph, 1, 14)["x"]
    other = np.full_like(x[0, :, 0], 7.0)
    expected, stream = Stream(engine(name, kind)), Stream(engine(name, kind))
    for t in range(14):
        for frame in (other, x[0, :, t]):
            peeked = stream.step(frame, update=False)
        wanted, found = expected.step(x[0, :, t]), stream.step(x[0, :, t])
        assert same(peeked, found)
        assert same(found, wanted)
    assert same(stream.mean, expected.mean)
    assert same(stream.flush(), expected.flush())


def test_frames_and_outputs_are_not_kept():
    name = "resnet, causal"
    graph, _ = family(name)
    x = clip(graph, 1, 4)["x"]
    expected, stream = Stream(engine(name, "numba")), Stream(engine(name, "numba"))
    frame = np.empty_like(x[0, :, 0])
    outputs = []
    for t in range(4):
        frame[...] = x[0, :, t]
        outputs.append(stream.step(frame))
        frame[...] = np.nan
    for t, output in enumerate(outputs):
        assert same(output, expected.step(x[0, :, t]))


@pytest.mark.parametrize(
    "name",
    ["resnet, causal", "resnet, replicate", "mobilenet, bi-directional", "two fills of one value"],
)
def test_a_frame_of_nonsense_is_forgotten_after_the_receptive_field(name):
    """A state is frames, not sums: what left the window in time has left for good."""
    graph, _ = family(name)
    stream, fresh = Stream(engine(name, "numba")), Stream(engine(name, "numba"))
    x = clip(graph, 1, stream.receptive_field + stream.delay)["x"]
    for _ in range(2):
        stream.step(x[:, :, 0])
        stream.step(np.full_like(x[:, :, 0], np.nan))
    for t in range(x.shape[2]):
        found, expected = stream.step(x[:, :, t]), fresh.step(x[:, :, t])
    assert np.isfinite(found).all()
    assert same(found, expected)


def test_the_running_mean_is_the_consensus_of_the_frames_so_far():
    name = "resnet, bi-directional"
    graph, _ = family(name)
    x = clip(graph, 1, 9)
    stream = Stream(engine(name, "numpy"))
    assert stream.mean is None
    stream.steps(x["x"])
    stream.flush()
    whole = engine(name, "numpy").run(x)[graph.outputs[0]]
    np.testing.assert_allclose(stream.mean, whole, rtol=1e-5, atol=1e-6)
    stream.reset()
    assert stream.mean is None


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("mode", ["zero", "past"])
def test_without_lookahead_is_the_changed_network_and_says_so(mode, kind):
    graph, weights = family("resnet, bi-directional")
    changed = graph.with_nodes(
        Node(n.name, n.op, n.inputs, {**n.attrs, "d": instead(n.attrs["d"], mode)})
        if n.op == "TemporalShift"
        else n
        for n in graph.nodes
    )
    x = clip(graph, 1, 7)
    wanted = make_engine(changed.with_outputs([graph.frame_logits]), weights, kind).run(x)
    with pytest.warns(UserWarning, match=f"lookahead='{mode}'.*published accuracy"):
        stream = Stream(engine("resnet, bi-directional", kind), lookahead=mode)
    assert stream.delay == 0
    found = stream.steps(x["x"])
    np.testing.assert_allclose(found, in_time(wanted)[graph.frame_logits], rtol=1e-4, atol=1e-5)


def instead(d, mode):
    """Beyond the clip there is the fill, which is zero."""
    return tuple(abs(v) if mode == "past" or v >= 0 else 1000 for v in d)


@pytest.mark.parametrize("mode", ["zero", "past"])
def test_a_causal_network_without_lookahead_is_itself(mode):
    stream = Stream(engine("resnet, causal", "numpy"), lookahead=mode)  # without a warning
    assert stream.lookahead is None


def test_lookahead_must_be_one_that_there_is():
    with pytest.raises(UsageError, match=r"`lookahead` \(='future'\) must be 'zero' or 'past'"):
        Stream(engine("resnet, bi-directional", "numpy"), lookahead="future")
    with pytest.raises(UsageError, match=r"the fill of .* is not zero: use 'past'"):
        Stream(engine("resnet, replicate", "numpy"), lookahead="zero")


def test_an_ended_stream_wants_a_reset():
    stream = Stream(engine("resnet, causal", "numpy"), 2)
    x = clip(family("resnet, causal")[0], 2, 3)["x"]
    assert stream.flush() is None
    before = stream.steps(x)
    assert stream.flush() is None  # nothing waits in a causal network
    for call in (lambda: stream.step(x[:, :, 0]), stream.flush):
        with pytest.raises(UsageError, match="stream 0 has ended: reset it"):
            call()
    stream.reset(0)
    with pytest.raises(UsageError, match="stream 1 has ended"):
        stream.step(x[:, :, 0])
    stream.reset()
    assert same(stream.steps(x), before)


def test_wrong_frames_and_numbers_are_refused():
    stream = Stream(engine("resnet, causal", "numpy"))
    for n in (0, -1, 1.5, "2", True):
        with pytest.raises(UsageError, match=rf"`n` \(={n!r}\) must be a whole number of streams"):
            Stream(engine("resnet, causal", "numpy"), n)
    with pytest.raises(UsageError, match="not known before the first"):
        print(stream.state_bytes)
    frame = np.zeros((3, 20, 20), np.float32)
    with pytest.raises(UsageError, match="'x' is uint8; preprocessed floats"):
        stream.step(frame.astype(np.uint8))
    with pytest.raises(GraphError, match=r"'x' has the shape \(2, 3, 20, 20\).*N=1"):
        stream.step(np.stack([frame, frame]))
    with pytest.raises(GraphError, match=r"the inputs are \['x'\], not \['y'\]"):
        stream.step({"y": frame})
    stream.step(frame)
    with pytest.raises(GraphError, match=r"\(3, 20, 24\); the stream has begun with \(3, 20, 20\)"):
        stream.step(np.zeros((3, 20, 24), np.float32))
    with pytest.raises(GraphError, match="'x' has rows of unequal lengths"):
        stream.step([[1.0, 2.0], [3.0]])
    for i in (1, -1, 0.0, "0"):
        with pytest.raises(UsageError, match=f"there is no stream {i!r}; there are 0 to 0"):
            stream.reset(i)
    with pytest.raises(UsageError, match="give them by name"):
        Stream(engine("ts-can", "numpy")).step(frame)


def test_what_cannot_stream_is_refused_by_the_name_that_the_user_knows():
    rule = ShiftRule("mit", 8, "circular")
    graph = build_resnet(BASIC, num_classes=5, shift=rule)
    made = make_engine(graph, random_weights(graph), "numpy")
    with pytest.raises(NotStreamable, match=r"'layer1.0.shift' \(TemporalShift\).*circular"):
        Stream(made, source=graph)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_streams_share_their_plans_and_let_go_of_the_engine(kind):
    graph, weights = family("resnet, bi-directional")
    made = make_engine(graph, weights, kind)
    x = clip(graph, 1, 6)["x"]
    streams = [Stream(made) for _ in range(2)]
    expected = [Stream(engine("resnet, bi-directional", kind)) for _ in range(2)]
    for t in range(6):  # one after the other, with other frames
        for k, order in enumerate((t, 5 - t)):
            frame = x[:, :, order]
            assert same(streams[k].step(frame), expected[k].step(frame))
    assert streams[0]._steps[1] is streams[1]._steps[1]
    gone = weakref.ref(made)
    del made, streams
    assert gone() is None


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_streams_of_one_engine_take_turns(kind):
    name = "mobilenet, causal"
    x = clip(family(name)[0], 4, 24)["x"]
    expected = [Stream(engine(name, kind)).steps(x[i : i + 1]) for i in range(4)]
    made = make_engine(*family(name), kind)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: Stream(made).steps(x[i : i + 1]), range(4)))
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_an_interrupted_step_has_not_happened(monkeypatch):
    name = "resnet, causal"
    x = clip(family(name)[0], 2, 6)["x"]
    stream, expected = Stream(engine(name, "numpy"), 2), Stream(engine(name, "numpy"), 2)
    stream.steps(x[:, :, :4])
    expected.steps(x[:, :, :4])
    steps = stream._steps[1]
    run, calls = steps.run, []

    def interrupted(*arguments):
        calls.append(1)
        run(*arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(steps, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stream.step(np.full_like(x[:, :, 4], 9.0))
    for t in (4, 5):
        assert same(stream.step(x[:, :, t]), expected.step(x[:, :, t]))


@pytest.mark.parametrize(("kind", "threads"), [("numpy", 1), ("numba", 1), ("numba", 2)])
@pytest.mark.parametrize("call", ["flush", "reset", "state"])
def test_every_call_that_is_interrupted_leaves_the_stream_as_it_was(
    kind, threads, call, monkeypatch
):
    name = "resnet, bi-directional"
    x = clip(family(name)[0], 2, 9)["x"]
    stream, other = (Stream(engine(name, kind, threads), 2) for _ in range(2))
    stream.steps(x[:, :, :6])
    other.steps(x[:, :, 3:])
    before, expected = stream.state, stream.copy().flush()
    steps, done = stream._ready(1), []

    def interrupted(real):
        def call(*arguments):
            real(*arguments)
            done.append(1)
            if len(done) == 5:
                raise KeyboardInterrupt

        return call

    def begin():
        if call == "state":
            stream.state = other.state
        else:
            getattr(stream, call)()

    with monkeypatch.context() as patched:
        for method in ("run", "put"):
            patched.setattr(steps, method, interrupted(getattr(steps, method)))
        with pytest.raises(KeyboardInterrupt):
            begin()
    after = stream.state
    assert all((after[key] == before[key]).all() for key in before)
    assert same(stream.flush(), expected)


def test_frames_of_another_size_are_taken_as_long_as_none_was_given():
    model = tsm_ref.build("mobilenetv2", num_classes=3, width=0.35, causal=True, engine="numpy")
    stream, small = model.stream(), np.ones((3, 32, 32), np.float32)
    first = stream.step(small)  # the profile says 224
    with pytest.raises(GraphError, match=r"begun with \(3, 32, 32\)"):
        stream.step(np.ones((3, 64, 64), np.float32))
    stream.reset()
    stream.step(np.ones((3, 64, 64), np.float32))
    stream.reset()
    np.testing.assert_array_equal(stream.step(small), first)
