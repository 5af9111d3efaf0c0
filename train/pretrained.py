"""Torchvision's ImageNet weights as a start, where they can be had."""

import socket
from typing import Final

import torch

from model.architecture import PixelClassifier
from model.errors import DataError
from model.vision import torchvision

TIMEOUT_S: Final = 20.0
"""Longest silence of the server that has the file."""


def imagenet_weights(network: PixelClassifier) -> None:
    """Load torchvision's pre-trained weights into the backbone; the two-class head keeps its start.

    The file is looked for in torch's hub cache (TORCH_HOME), then downloaded. Raises DataError where neither works.
    """
    name = network.architecture.backbone
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        head = {key: value for key, value in network.backbone.state_dict().items() if key.startswith("fc.")}
        network.backbone.load_state_dict({**state, **head})
    except ValueError as error:
        raise DataError(f'weights = "imagenet": torchvision has none for {name}; use weights = "random"') from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f'weights = "imagenet": torchvision\'s {name} file cannot be had ({reason}); put it into '
            f'{torch.hub.get_dir()}/checkpoints, or use weights = "random"'
        ) from error
    finally:
        socket.setdefaulttimeout(before)
