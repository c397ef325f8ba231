"""What somebody does who answers exported questions on another machine."""

import json

import numpy as np
import pytest

from conformance.questions.case import Call
from conformance.testees.in_process import InProcess
from conformance.worker import as_message


@pytest.fixture(scope="session")
def answer_all():
    """A function that answers every question in a folder by an object of this process."""

    def answer(folder, target, outputs="outputs"):
        testee = InProcess(target)
        for path in sorted(folder.glob("cases/*/*/call.json")):
            told = json.loads(path.read_text())
            inputs = {name: read(path.parent / file) for name, file in told["inputs"].items()}
            out = folder / outputs / path.parent.relative_to(folder / "cases")
            out.mkdir(parents=True)
            call = Call(told["operation"], inputs, told["attributes"])
            reply = as_message(testee.ask(call, 60), out)
            if "error" in reply:
                (out / "error.json").write_text(json.dumps(reply["error"]))

    return answer


def read(file):
    return np.load(file) if file.suffix == ".npy" else np.fromfile(file, np.uint8)
