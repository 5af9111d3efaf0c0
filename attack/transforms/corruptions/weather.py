"""Fog, frost and snow. x: (N, 3, S, S) in [0, 1]; S side."""

import torch
from torch import Tensor

from attack.draws import Draws
from attack.transforms.corruptions.filters import clipped_zoom, motion, to_lattice
from attack.transforms.corruptions.parameters import PARAMETERS

FROST_TINT = (0.86, 0.93, 1.0)
GREY = (0.299, 0.587, 0.114)
"""How much red, green and blue count for the brightness (ITU-R BT.601)."""


def fog(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A fractal cloud is added; the brightest value stays where it was."""
    amount, decay = PARAMETERS["fog"][severity - 1]
    brightest = x.amax(dim=(1, 2, 3), keepdim=True)
    cloud = plasma(x.shape[-1], decay, draws)[:, None]
    return (x + amount * cloud) * brightest / (brightest + amount)


def frost(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A frosted pane over the picture, in the published proportions.

    Deviation: the published pane is a crop of one of five photos that are not distributed with the code; this one is
    drawn, so that severities keep their order but figures cannot be compared with published ones. The kit left it out.
    """
    share, share_frost = PARAMETERS["frost"][severity - 1]
    return share * x + share_frost * frosted_pane(x.shape[-1], draws).to(x)


def snow(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Bleached colours under two layers of flakes that fall at one angle."""
    mean, deviation, zoom, cut, radius, sigma, share = PARAMETERS["snow"][severity - 1]
    flakes = clipped_zoom(mean + deviation * draws.normal(1, *x.shape[-2:]), zoom)
    flakes = to_lattice(flakes.where(flakes >= cut, torch.zeros_like(flakes)))
    flakes = to_lattice(motion(flakes, radius, sigma, draws.uniform(low=-135, high=-45)))
    grey = (x * x.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    bleached = share * x + (1 - share) * torch.maximum(x, grey * 1.5 + 0.5)
    return bleached + flakes + flakes.rot90(2, dims=(2, 3))


def plasma(side: int, decay: float, draws: Draws) -> Tensor:
    """(N, S, S) in [0, 1]: the diamond-square fractal on a torus, detail shrinking by `decay` from scale to scale."""
    size = 1 << (side - 1).bit_length()
    cloud = torch.zeros(len(draws.generators), size, size, device=draws.device)
    step, roughness = size, 100.0
    while step >= 2:
        half = step // 2
        corners = cloud[:, ::step, ::step]
        below = corners.roll(-1, 1)
        squares = corners + below + (corners + below).roll(-1, 2)
        cloud[:, half::step, half::step] = _jittered(squares, roughness, draws)
        centres = cloud[:, half::step, half::step]
        beside = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        cloud[:, ::step, half::step] = _jittered(beside, roughness, draws)
        under = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        cloud[:, half::step, ::step] = _jittered(under, roughness, draws)
        step, roughness = half, roughness / decay
    cloud = cloud - cloud.amin(dim=(1, 2), keepdim=True)
    return (cloud / cloud.amax(dim=(1, 2), keepdim=True))[:, :side, :side]


def _jittered(total_of_four: Tensor, roughness: float, draws: Draws) -> Tensor:
    noise = draws.uniform(*total_of_four.shape[1:], low=-roughness, high=roughness)
    return total_of_four / 4 + roughness * noise


def frosted_pane(side: int, draws: Draws) -> Tensor:
    """(N, 3, S, S) in [0, 1]: pale blue crystals, the ridges of one fractal, thick where another one is high."""
    ridges = 1 - (2 * plasma(side, 1.5, draws) - 1).abs()
    thickness = plasma(side, 2.2, draws)
    pane = 0.25 + 0.75 * (0.55 * ridges**3 + 0.45 * thickness)
    return pane[:, None] * torch.tensor(FROST_TINT, device=draws.device).view(1, 3, 1, 1)
