"""The same endpoint for users of foolbox and of ART; neither is needed until its adapter is called.

Both see three outputs, one-hot: bicycle, bird, abstain. Attack towards the wrong class (`TargetedMisclassification`,
`targeted=True`): an abstention then counts as no success. Pictures are rounded to the 8-bit lattice on the way.

N batch, C channels, S side.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model.labels import LABELS
from model.pixels import Pixels


class Labeller(Protocol):
    """A client, or an oracle wrapped to look like one."""

    @property
    def info(self) -> Any:
        """Has `input_size`."""

    def predict_batch(self, pixels: Pixels) -> list[str]:
        """uint8 (N, S, S, 3) -> N labels."""


def one_hot(client: Labeller, x: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """(N, 3, S, S) in [0, 1] -> (N, 3) one-hot labels of the nearest pictures on the lattice."""
    pixels = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    labels = client.predict_batch(np.ascontiguousarray(pixels))
    return np.eye(len(LABELS), dtype=np.float32)[[LABELS.index(label) for label in labels]]


def foolbox_model(client: Labeller) -> Any:
    """A `foolbox.models.base.Model` with bounds (0, 1). Needs foolbox 3."""
    import eagerpy  # noqa: PLC0415
    from foolbox.models.base import Model  # noqa: PLC0415
    from foolbox.types import Bounds  # noqa: PLC0415

    class EndpointModel(Model):  # type: ignore[misc]
        @property
        def bounds(self) -> Any:
            return Bounds(0, 1)

        def __call__(self, inputs: Any) -> Any:
            x, restore = eagerpy.astensor_(inputs)
            return restore(eagerpy.from_numpy(x, one_hot(client, x.numpy())))

    return EndpointModel()


def art_classifier(client: Labeller) -> Any:
    """An `art.estimators.classification.BlackBoxClassifier` with clip values (0, 1). Needs ART 1."""
    from art.estimators.classification import BlackBoxClassifier  # noqa: PLC0415

    side = client.info.input_size
    return BlackBoxClassifier(
        lambda x: one_hot(client, x), (3, side, side), len(LABELS), clip_values=(0, 1), preprocessing=(0, 1)
    )
