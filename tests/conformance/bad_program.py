"""A program that speaks the protocol and misbehaves once, in the way that its argument names.

At the second call it is well-behaved again, so that a test can see the run go on.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def correct(message, folder):
    x = np.load(folder / message["inputs"]["x"])
    y = np.zeros_like(x)
    f = x.shape[1] // message["attributes"]["fold_div"]
    y[:, :f, :-1] = x[:, :f, 1:]
    y[:, f : 2 * f, 1:] = x[:, f : 2 * f, :-1]
    y[:, 2 * f :] = x[:, 2 * f :]
    return y


def misbehave(mode, message, folder):
    out, id = folder / message["outputs"], message["id"]
    good = {"id": id, "outputs": {"y": "y.npy"}}
    y = correct(message, folder)
    if mode == "hang":
        time.sleep(60)
    elif mode == "crash":
        os.abort()
    elif mode == "exit":
        print("out of cheese", file=sys.stderr)
        sys.exit(3)
    elif mode == "orphan":
        subprocess.Popen(["sleep", "40"], start_new_session=True)
        os._exit(3)
    elif mode == "garbage":
        return "Segmentation fault (core dumped)"
    elif mode == "list":
        return "[1, 2]"
    elif mode == "endless line":
        return "x" * (3 << 20)
    elif mode == "deep json":
        return "[" * 100000
    elif mode == "out of order":
        return json.dumps(good | {"id": id + 1})
    elif mode == "schema":
        return json.dumps({"id": id, "outputs": {"y": 3}})
    elif mode == "two answers":
        return json.dumps(good | {"skipped": {"message": "both"}})
    elif mode == "skip":
        return json.dumps({"id": id, "skipped": {"message": "not today"}})
    elif mode == "failed":
        return json.dumps({"id": id, "error": {"kind": "failed", "message": "no device"}})
    elif mode == "refuses":
        return json.dumps({"id": id, "error": {"kind": "invalid", "message": "too small"}})
    elif mode == "odd words":
        text = "lone \ud800, \x1b[31mred, \x00 and\ntwo lines" + "!" * 100_000
        return json.dumps({"id": id, "error": {"kind": "invalid", "message": text}})
    elif mode == "no file":
        return json.dumps(good)
    elif mode == "path":
        np.save(folder.parent / "stolen.npy", y)
        return json.dumps({"id": id, "outputs": {"y": "../../stolen.npy"}})
    elif mode == "link":
        np.save(folder / "elsewhere.npy", y)
        (out / "y.npy").symlink_to(folder / "elsewhere.npy")
    elif mode == "outside":
        np.save(folder / "mine.npy", y)
        np.save(out / "y.npy", y)
    elif mode == "pipe":
        os.mkfifo(out / "y.npy")
    elif mode == "pipe json":
        os.mkfifo(out / "y.json")
        return json.dumps({"id": id, "outputs": {"y": "y.json"}})
    elif mode == "no folder":
        shutil.rmtree(folder)
    elif mode == "other folder":
        out.rmdir()
        out.symlink_to(folder.parent)
        return json.dumps(good)
    elif mode == "removes input":
        (folder / message["inputs"]["x"]).unlink()
        np.save(out / "y.npy", y)
    elif mode == "changes input":
        np.save(folder / message["inputs"]["x"], y + 1)
        np.save(out / "y.npy", y)
    elif mode == "pickle":
        np.save(out / "y.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif mode == "header lies":
        np.save(out / "y.npy", y)
        data = (out / "y.npy").read_bytes().replace(b"(1, ", b"(9999999999, ")
        (out / "y.npy").write_bytes(data)
    elif mode == "cut":
        np.save(out / "y.npy", y)
        (out / "y.npy").write_bytes((out / "y.npy").read_bytes()[:-7])
    elif mode == "huge":
        with (out / "y.npy").open("wb") as f:
            f.truncate(300 << 20)
    elif mode == "text":
        np.save(out / "y.npy", np.array(["a", "b"]))
    elif mode == "shape":
        np.save(out / "y.npy", y[:, :-1])
    elif mode == "dtype":
        np.save(out / "y.npy", y.astype(np.float64))
    elif mode == "nan":
        np.save(out / "y.npy", np.full_like(y, np.nan))
    elif mode == "other name":
        np.save(out / "z.npy", y)
        return json.dumps({"id": id, "outputs": {"z": "z.npy"}})
    return json.dumps(good)


def main(mode, memory):
    folder = Path()
    for line in sys.stdin:
        message = json.loads(line)
        if message["op"] == "start":
            folder = Path(message["folder"])
            reply = json.dumps({"name": mode, "profile": "mit"})
        elif message["op"] == "stop":
            break
        elif memory.exists():
            np.save(folder / message["outputs"] / "y.npy", correct(message, folder))
            reply = json.dumps({"id": message["id"], "outputs": {"y": "y.npy"}})
        else:
            memory.write_text("once is enough")
            reply = misbehave(mode, message, folder)
        print(reply, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
