"""Whoever is evaluated: a bundle, a Python callable, a live endpoint. N batch, S side of the picture.

All are asked the same way, pictures in, two logits out. Behind an endpoint there are labels alone; they are read as
logits (1, 0), (0, 1) and, for `abstain`, (0, 0), so that `wrong - right` is 1, 0 or -1: a mistake is worse than an
abstention, an abstention worse than the right answer.
"""

import importlib
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attack.evaluation.onnx_network import OnnxNetwork
from attack.gradient.network import Network
from attack.gradient.objective import Model
from attack.transforms.pixels import to_pixels, to_tensor
from attack.transforms.spatial import KIT_SIZE
from attack.wire.client import Client
from attack.wire.foreign import ForeignClient
from model.answers import answers
from model.bundle import load_bundle
from model.errors import ConfigError
from model.labels import ABSTAIN, CLASSES
from model.pixels import Pixels

VOTES: Final = {CLASSES[0]: (1.0, 0.0), CLASSES[1]: (0.0, 1.0), ABSTAIN: (0.0, 0.0)}
OURS: Final = ("attack", "model", "server", "trades_bob", "train")
"""Modules of the project that are imported before anyone else's."""
CPU_PIXELS_PER_BATCH: Final = 32 * 224 * 224 // 2
GPU_PIXELS_PER_BATCH: Final = 1024 * 224 * 224
MAX_CPU_BATCH: Final = 64


class Subject(ABC):
    """A model under evaluation; `queries` counts the pictures it was shown."""

    kind: str
    reference: str
    """Where it is: a path, a URL, `module:function`."""
    identity: str | None = None
    """SHA-256 of the weights, where it is known."""
    abstain_below: float | None = None
    """The threshold it was calibrated to, where it is known."""
    sees_logits = True
    differentiable: Model | None = None
    """The network itself, for attacks that need gradients; what they find is judged by `logits`."""
    gradients_in: str | None = None
    """Precision of the gradients, where there are any."""
    max_slots = 1
    """Most requests that it is ever asked side by side."""

    def __init__(self, input_size: int, device: str = "cpu") -> None:
        self.input_size, self.device = input_size, torch.device(device)
        self.pixels_together = CPU_PIXELS_PER_BATCH if self.device.type == "cpu" else GPU_PIXELS_PER_BATCH
        """Pixels of all pictures in memory together."""
        most = MAX_CPU_BATCH if self.device.type == "cpu" else 4096
        self.batch = max(1, min(self.pixels_together // input_size**2, most))
        """Pictures that are answered together at best."""
        self.queries = 0
        self.estimate_queries = 0
        """Pictures it was asked beforehand, to tell how long the rows will take; no part of `queries`."""
        self._counting = threading.Lock()

    @property
    def slots(self) -> int:
        """Requests that it bears side by side at the moment."""
        return self.max_slots

    @property
    def pool(self) -> int:
        """Pictures worth handing over together: they fill as many requests as it ever takes."""
        return self.batch * self.max_slots

    @property
    def max_batch(self) -> int:
        """Pictures a request; it may fall."""
        return self.batch

    def count(self, pictures: int) -> None:
        """Add to `queries`; from any thread."""
        with self._counting:
            self.queries += pictures

    @torch.inference_mode()
    def logits(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> (N, 2) float32 logits, bicycle first, on the CPU."""
        self.count(len(x))
        n_parts = max(1, round(len(x) / self.pool))
        return torch.cat([self._answer(part).float().cpu() for part in x.chunk(n_parts)])

    def labels(self, pixels: Pixels) -> list[str]:
        """uint8 (N, S, S, 3) -> N labels: the larger logit's class. A score takes its threshold later, as the kit's."""
        return answers(self.logits(to_tensor(pixels)).numpy(), -np.inf)

    def logits_there(self, x: Tensor) -> Tensor:
        """As `logits`, on the device of `x`."""
        return self.logits(x).to(x.device)

    @abstractmethod
    def _answer(self, x: Tensor) -> Tensor:
        """At most about `pool` pictures -> (N, 2)."""

    def describe(self) -> dict[str, Any]:
        """What a report says about it."""
        return {
            "kind": self.kind,
            "reference": self.reference,
            "sha256": self.identity,
            "input_size": self.input_size,
            "abstain_below": self.abstain_below,
            "gradients_in": self.gradients_in,
        }


class BundleSubject(Subject):
    """A bundle in this process. On a CPU what needs no gradient runs on ONNX Runtime; the two agree up to rounding."""

    kind = "bundle"

    def __init__(self, path: Path, device: str = "cpu", size: int | None = None) -> None:
        classifier = load_bundle(path)
        super().__init__(size or classifier.input_size, device)
        self.reference = str(path)
        self.identity = classifier.metadata.weights_sha256
        self.abstain_below = classifier.metadata.abstain_below
        torch.backends.cudnn.deterministic = True  # one seed, one table
        network = Network(classifier, self.device)
        self.differentiable, self.gradients_in = network, network.gradients_in
        self._forward = OnnxNetwork(path, self.input_size) if self.device.type == "cpu" else network.exact

    def _answer(self, x: Tensor) -> Tensor:
        return self._forward(x)


class CallableSubject(Subject):
    """A function with the kit's signature: float32 (N, S, S, 3) in [0, 1] -> (N, 2) logits, bicycle first."""

    kind = "callable"

    def __init__(self, name: str, size: int | None = None) -> None:
        super().__init__(size or KIT_SIZE)
        self.reference = name
        self.function = find_callable(name)

    def _answer(self, x: Tensor) -> Tensor:
        pictures = np.array(x.permute(0, 2, 3, 1).numpy(), dtype=np.float32, order="C")  # its own, to write to
        try:
            logits = np.asarray(self.function(pictures))
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{self.reference}: raised {type(error).__name__}: {error}") from error
        if logits.shape != (len(x), 2) or logits.dtype.kind != "f":
            found = f"{logits.dtype} {logits.shape}"
            raise ConfigError(
                f"{self.reference}: returned {found} for {len(x)} pictures; expected float32 ({len(x)}, 2)"
            )
        return torch.from_numpy(logits.astype(np.float32))


class EndpointSubject(Subject):
    """A live endpoint, ours or one that a TOML describes: labels alone, 8-bit pictures."""

    kind = "endpoint"
    sees_logits = False

    def __init__(self, client: Client | ForeignClient) -> None:
        super().__init__(client.info.input_size)
        self.client, self.reference = client, client.url
        self.batch = min(client.info.max_batch, self.batch)  # what it says of itself bounds no memory of ours
        self.max_slots = client.pace.max_slots
        weights = client.info.raw.get("weights_sha256")
        self.identity = weights if isinstance(weights, str) else None

    @property
    def slots(self) -> int:
        """What the endpoint bears at the moment."""
        return self.client.pace.slots

    @property
    def max_batch(self) -> int:
        """What the endpoint takes, as far as it has told or refused by now."""
        return min(self.client.max_batch, self.batch)

    def _answer(self, x: Tensor) -> Tensor:
        return torch.tensor([VOTES[label] for label in self.client.predict_batch(to_pixels(x))])

    def labels(self, pixels: Pixels) -> list[str]:
        """As it answers: it abstains where it does, which is no mistake. Raises EndpointError."""
        self.count(len(pixels))
        return self.client.predict_batch(pixels)


def read_votes(logits: npt.NDArray[np.floating]) -> list[str]:
    """(N, 2) `VOTES` -> the N labels they stand for."""
    return [ABSTAIN if row[0] == row[1] else CLASSES[int(row[1] > row[0])] for row in logits]


def find_callable(name: str) -> Callable[[npt.NDArray[np.float32]], Any]:
    """The function that `module:function` names, the working directory searched first. Raises ConfigError."""
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ConfigError(f"--callable {name!r}: write MODULE:FUNCTION, such as my_defence:logits")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        where = _taken(module_name) or "run this in the module's folder"
        raise ConfigError(f"--callable {name!r}: {error}; {where}") from error
    except (Exception, SystemExit) as error:  # the module's own
        raise ConfigError(f"--callable {name!r}: importing it raised {type(error).__name__}: {error}") from error
    for part in function_name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        where = f"; {taken}" if (taken := _taken(module_name)) else ""
        raise ConfigError(f"--callable {name!r}: {module_name} has no function {function_name}{where}")
    function: Callable[[npt.NDArray[np.float32]], Any] = found
    return function


def _taken(module_name: str) -> str | None:
    """What to do where a module has the name of one of the project's own, which is found in its place."""
    first = module_name.partition(".")[0]
    return f"trades-bob has a module {first} of its own: rename yours" if first in OURS else None
