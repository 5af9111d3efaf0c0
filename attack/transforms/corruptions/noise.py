"""Gaussian, shot, impulse and speckle noise. x: (N, 3, H, W) in [0, 1]; results are clipped by the caller."""

from torch import Tensor

from attack.draws import Draws
from attack.transforms.corruptions.parameters import PARAMETERS


def gaussian_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Normal noise of one standard deviation everywhere."""
    (sigma,) = PARAMETERS["gaussian_noise"][severity - 1]
    return x + sigma * draws.normal(*x.shape[1:])


def shot_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Poisson counts of `photons` at full brightness."""
    (photons,) = PARAMETERS["shot_noise"][severity - 1]
    return draws.poisson(x * photons) / photons


def impulse_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Salt and pepper: a share of all values, each channel by itself, becomes 0 or 1."""
    (share,) = PARAMETERS["impulse_noise"][severity - 1]
    hit, salt = draws.uniform(2, *x.shape[1:]).unbind(1)
    return (salt > 0.5).to(x).where(hit <= share, x)


def speckle_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Normal noise in proportion to the brightness."""
    (sigma,) = PARAMETERS["speckle_noise"][severity - 1]
    return x + x * sigma * draws.normal(*x.shape[1:])
