"""The inference worker: a process of its own, which alone knows logits and hands out nothing but labels.

    python -m server.worker CONFIG_JSON        started by server.process, never by a person

Pixels come in shared memory, so a message is a handful of slot numbers; the answer is one byte per image. A crash or a
hang of native code takes this process and not the server.
"""

import importlib
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from model.errors import BundleError, TradesBobError
from model.labels import LABELS
from server.pipe import Pipe

HEARTBEAT_EVERY_S: Final = 0.2
HEADER_BYTES: Final = 64
"""The shared memory begins with the time of the last heartbeat (float64, monotonic clock), padded to a cache line."""
SECONDS: Final = struct.Struct("<d")


def main() -> None:
    """Open the runtime, say hello, then answer batches until the server hangs up."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server decides when its worker ends: by hanging up
        signal.signal(number, signal.SIG_IGN)
    config = json.loads(sys.argv[1])
    pipe = Pipe(socket.socket(fileno=config["connection_fd"]))
    try:
        runtime = _open(config)
    except TradesBobError as error:
        pipe.send(json.dumps({"error": str(error), "exit_code": error.exit_code}).encode())
        return
    except Exception as error:  # noqa: BLE001  (whatever a library throws: the server tells it and goes on or ends)
        line = f"the model cannot be opened: {type(error).__name__}: {error}"
        pipe.send(json.dumps({"error": line, "exit_code": 1}).encode())
        return
    memory = map_memory(config["memory_fd"], config["slots"], runtime.input_size, create=True)
    _beat(memory.heartbeat)
    threading.Thread(target=_beat_forever, args=(memory.heartbeat,), daemon=True).start()
    try:
        pipe.send(json.dumps(_hello(runtime)).encode())
        while True:
            _answer(pipe, runtime, memory.slots)
    except (EOFError, ConnectionError):
        return


class Memory:
    """The shared memory: `heartbeat` float64 (1,), `slots` uint8 (slots, S, S, 3)."""

    def __init__(self, buffer: mmap.mmap, count: int, size: int) -> None:
        self.heartbeat: npt.NDArray[np.float64] = np.frombuffer(buffer, np.float64, 1)
        pixels = np.frombuffer(buffer, np.uint8, count * size * size * 3, HEADER_BYTES)
        self.slots: npt.NDArray[np.uint8] = pixels.reshape(count, size, size, 3)


def map_memory(descriptor: int, slots: int, size: int, create: bool = False) -> Memory:
    """Map the file of the shared memory for `slots` squares of side `size`; `create` gives it its length."""
    length = HEADER_BYTES + slots * size * size * 3
    if create:
        os.ftruncate(descriptor, length)
    return Memory(mmap.mmap(descriptor, length), slots, size)


def _open(config: dict[str, Any]) -> Any:
    module, function = config["factory"].split(":")
    factory: Callable[..., Any] = getattr(importlib.import_module(module), function)
    runtime = factory(Path(config["bundle"]), **config["options"])
    if config["expected_digest"] not in (None, runtime.metadata.digest):  # before its memory is laid out anew
        raise BundleError(
            f"{config['bundle']}: not the bundle in service any more; put that one back, "
            "or reload (SIGHUP) or restart the service to serve this one"
        )
    return runtime


def _hello(runtime: Any) -> dict[str, Any]:
    """What the server may know about the model: nothing of a score, not even the threshold."""
    return {
        "input_size": runtime.input_size,
        "bundle_digest": runtime.metadata.digest,
        "classes": list(runtime.metadata.classes),
        "weights_sha256": runtime.metadata.weights_sha256,
        "runtime": runtime.kind,
        "device": runtime.device,
        "batch_sizes": list(runtime.batch_sizes),
    }


def _answer(pipe: Pipe, runtime: Any, slots: npt.NDArray[np.uint8]) -> None:
    """Take one message of slot numbers (uint32 each), send the seconds it took and one byte per label."""
    wanted = np.frombuffer(pipe.receive(), np.uint32)
    started = time.perf_counter()
    pixels = slots[wanted[0] : wanted[0] + 1] if len(wanted) == 1 else slots[wanted]  # one alone need not be copied
    labels = runtime.decide(runtime.logits(pixels))
    answer = bytes(LABELS.index(label) for label in labels)
    pipe.send(SECONDS.pack(time.perf_counter() - started) + answer)


def _beat(heartbeat: npt.NDArray[np.float64]) -> None:
    heartbeat[0] = time.monotonic()


def _beat_forever(heartbeat: npt.NDArray[np.float64]) -> None:
    while True:
        _beat(heartbeat)
        time.sleep(HEARTBEAT_EVERY_S)


if __name__ == "__main__":
    main()
