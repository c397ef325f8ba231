"""The other runtimes, each as one function that opens a prepared network.

What an engine returns is a `Runner`: the layout of its input, one call, and a reset of the carried
state. This module imports little, because its process is measured: a runtime should not be charged
for what is ours.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError

Array = NDArray[Any]
Step = Callable[[Any, list[Any]], tuple[Array, list[Any]]]


def _nothing() -> None:
    """Reset a runner that carries no state."""


@dataclass(frozen=True)
class Runner:
    """An open network: `take` puts (T, 3, H, W) into the runtime's own form, `run` answers it."""

    version: str
    run: Callable[[Any], Array]
    take: Callable[[Array], Any] = np.ascontiguousarray
    reset: Callable[[], None] = _nothing


Opener = Callable[[Path, int], Runner]
"""Opens the network in a folder for a number of threads."""


class Names(NamedTuple):
    """The inputs and outputs of a network; all but the first of either carry state."""

    inputs: list[str]
    outputs: list[str]
    states: list[tuple[int, ...]]  # shapes

    def zeros(self) -> list[Array]:
        """The state before the first frame."""
        return [np.zeros(shape, np.float32) for shape in self.states]


def read_names(folder: Path) -> Names:
    """The names of the inputs and outputs of the network that a folder holds."""
    with np.load(folder / "names.npz") as file:
        inputs, outputs = (file[name].tolist() for name in ("inputs", "outputs"))
        return Names(inputs, outputs, [tuple(shape) for shape in file["states"].tolist()])


def _stateful(version: str, step: Step, states: list[Any], **options: Any) -> Runner:
    """A runner that hands the states of one call to the next."""
    first = list(states)

    def run(x: Any) -> Array:
        answer, states[:] = step(x, states)
        return answer

    def reset() -> None:
        states[:] = first

    return Runner(version, run, reset=reset, **options)


def _onnxruntime(folder: Path, threads: int) -> Runner:
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    path, providers = str(folder / "network.onnx"), ["CPUExecutionProvider"]
    session = ort.InferenceSession(path, options, providers=providers)
    names = read_names(folder)

    def step(x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        answer, *after = session.run(None, dict(zip(names.inputs, [x, *states], strict=True)))
        return answer, after

    return _stateful(f"onnxruntime {ort.__version__}", step, names.zeros())


def open_openvino(folder: Path, threads: int, precision: str | None = "f32") -> Runner:
    """Open a network with OpenVINO in a precision; None leaves that to its own choice.

    Raises `UsageError` where it computes in another precision than it was told to.
    """
    ov: Any = importlib.import_module("openvino")
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    if precision is not None:
        options["INFERENCE_PRECISION_HINT"] = precision
    model = ov.Core().compile_model(str(folder / "network.onnx"), "CPU", options)
    chosen = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if precision not in (None, chosen):
        raise UsageError(f"on this processor it computes in {chosen} where {precision} is wanted")
    request, names = model.create_infer_request(), read_names(folder)
    ports = [model.output(i) for i in range(len(names.outputs))]

    def step(x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        feed = dict(zip(names.inputs, [x, *states], strict=True))
        result = request.infer(feed, share_inputs=True)
        answers = [np.array(result[port]) for port in ports]
        return answers[0], answers[1:]

    version = f"OpenVINO {ov.__version__.split('-')[0]}"
    version += f", chose {chosen}" if precision is None else ""
    return _stateful(version, step, names.zeros())


def _litert(folder: Path, threads: int) -> Runner:
    package: Any = importlib.import_module("ai_edge_litert.interpreter")
    version = importlib.import_module("importlib.metadata").version("ai-edge-litert")
    interpreter = package.Interpreter(str(folder / "network.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    names = read_names(folder)
    places = {entry["name"]: entry["index"] for entry in interpreter.get_input_details()}
    answers = [entry["index"] for entry in interpreter.get_output_details()]

    def last(x: Array) -> Array:
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def step(x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        for name, value in zip(names.inputs, [x, *states], strict=True):
            interpreter.set_tensor(places[name], value)
        interpreter.invoke()
        made = [interpreter.get_tensor(index) for index in answers]
        return made[0], made[1:]

    states = [last(zeros) for zeros in names.zeros()]
    return _stateful(f"LiteRT {version}", step, states, take=last)


def _mnn(folder: Path, threads: int) -> Runner:
    mnn: Any = importlib.import_module("MNN")
    nn: Any = importlib.import_module("MNN.nn")
    expr: Any = importlib.import_module("MNN.expr")
    importlib.import_module("MNN.numpy")
    names = read_names(folder)
    settings = {"backend": "CPU", "numThread": threads, "precision": "high"}
    module = nn.load_module_from_file(
        str(folder / "network.mnn"), names.inputs, names.outputs,
        runtime_manager=nn.create_runtime_manager((settings,)),
    )  # fmt: skip

    def put(x: Array) -> Any:
        variable = expr.placeholder(list(x.shape), expr.NCHW)
        variable.write(x)
        return variable

    def step(x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        made = module.forward([put(value) for value in [x, *states]])
        made = made if isinstance(made, list) else [made]
        answers = [np.array(expr.convert(value, expr.NCHW).read()) for value in made]
        return answers[0], answers[1:]

    return _stateful(f"MNN {mnn.version()}", step, names.zeros())


def _opencv(folder: Path, threads: int) -> Runner:
    cv2: Any = importlib.import_module("cv2")
    cv2.setNumThreads(threads)
    names, net = read_names(folder), cv2.dnn.readNetFromONNX(str(folder / "network.onnx"))

    def step(x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        for name, value in zip(names.inputs, [x, *states], strict=True):
            net.setInput(value, name)
        answers = [np.array(value) for value in net.forward(names.outputs)]
        return answers[0], answers[1:]

    return _stateful(f"OpenCV {cv2.__version__}", step, names.zeros())


def _ncnn(folder: Path, threads: int) -> Runner:
    ncnn: Any = importlib.import_module("ncnn")
    net, names = ncnn.Net(), read_names(folder)
    net.opt.num_threads = threads
    for option in (
        "use_fp16_packed",
        "use_fp16_storage",
        "use_fp16_arithmetic",
        "use_bf16_storage",
    ):
        setattr(net.opt, option, False)
    net.load_param(str(folder / "network.ncnn.param"))
    net.load_model(str(folder / "network.ncnn.bin"))

    def step(x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        extractor = net.create_extractor()
        for name, value in zip(names.inputs, [x, *states], strict=True):
            extractor.input(name, ncnn.Mat(value[0]))
        answers = [np.array(extractor.extract(name)[1])[None] for name in names.outputs]
        return answers[0], answers[1:]

    return _stateful(f"ncnn {ncnn.__version__}", step, names.zeros())


def _torch(folder: Path, threads: int) -> Runner:
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    names = read_names(folder)
    module = torch.jit.load(str(folder / "network.torch"))
    module = torch.jit.optimize_for_inference(torch.jit.freeze(module.eval()))

    def step(x: Any, states: list[Any]) -> tuple[Array, list[Any]]:
        answer, *after = module(x, *states)
        return answer.numpy(), after

    states = [torch.from_numpy(zeros) for zeros in names.zeros()]
    version = f"PyTorch {torch.__version__}, frozen"
    return _stateful(version, step, states, take=lambda x: torch.from_numpy(x.copy()))


PEERS: Mapping[str, Opener] = {
    "onnxruntime": _onnxruntime,
    "openvino": open_openvino,
    "litert": _litert,
    "mnn": _mnn,
    "ncnn": _ncnn,
    "opencv": _opencv,
    "torch": _torch,
}
"""The other runtimes."""

PACKAGES: Mapping[str, str] = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai_edge_litert",
    "mnn": "MNN",
    "ncnn": "ncnn",
    "opencv": "cv2",
    "torch": "torch",
}
"""What has to be importable for each of them."""


def installed() -> list[str]:
    """The other runtimes whose packages can be imported here, without importing them."""
    find = importlib.util.find_spec
    return [name for name, package in PACKAGES.items() if find(package) is not None]
