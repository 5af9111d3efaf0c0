"""Torchvision's ImageNet weights as a start, where they can be had."""

from urllib.error import URLError

import torch

from model.architecture import PixelClassifier
from model.errors import DataError
from model.vision import torchvision


def imagenet_weights(network: PixelClassifier) -> None:
    """Load torchvision's pre-trained weights into the backbone; the two-class head keeps its start.

    The file is looked for in torch's hub cache (TORCH_HOME), then downloaded. Raises DataError where neither works.
    """
    name = network.architecture.backbone
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise DataError(
            f'weights = "imagenet": torchvision\'s {name} file cannot be had ({error}); put it into '
            f'{torch.hub.get_dir()}/checkpoints, or use weights = "random"'
        ) from error
    head = {key for key in state if key.startswith("fc.")}
    network.backbone.load_state_dict({key: value for key, value in state.items() if key not in head}, strict=False)
