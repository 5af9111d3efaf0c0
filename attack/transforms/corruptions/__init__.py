"""The nineteen common corruptions of ImageNet-C at five severities, for batches of tensors on any device.

Source: Hendrycks and Dietterich 2019 (arXiv:1903.12261) and the code that made ImageNet-C. Each is written anew from
its definition; the deviations stand in the docstrings. N batch, S side.
"""

from collections.abc import Callable, Sequence
from typing import Final

from torch import Tensor

from attack.draws import Draws
from attack.transforms.corruptions import blur, digital, jpeg, noise, spatter, weather
from attack.transforms.corruptions.filters import to_lattice
from attack.transforms.corruptions.parameters import SEVERITIES

Corruption = Callable[[Tensor, int, Draws], Tensor]

CORRUPTIONS: Final[dict[str, Corruption]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": jpeg.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": spatter.spatter,
    "saturate": digital.saturate,
}
KIT_CORRUPTIONS: Final = tuple(name for name in CORRUPTIONS if name not in ("snow", "frost"))
"""The seventeen that the challenge's kit runs, at severity 1, in its order."""


def corrupt(x: Tensor, name: str, severity: int, seeds: Sequence[int]) -> Tensor:
    """(N, 3, S, S) on the 8-bit lattice in [0, 1], and a seed a picture -> corrupted pictures, on the lattice again.

    Lengths in pixels are those published for 224 x 224; at another S they stay as they are, and so weigh more or less.
    A picture's result depends on its pixels and its seed, not on the rest of the batch.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be 1 to 5, not {severity}")
    return to_lattice(CORRUPTIONS[name](x, severity, Draws(seeds, x.device)))
