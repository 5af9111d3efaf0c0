"""The two views of the spatial variant: T(x) for the natural term, T'(x) where the perturbation starts.

Only the variant's name is public; this is a reconstruction, see docs/trades.md. N batch, C channels, H height, W width.
Views are channels last in memory: convolutions are faster so, on CPUs and GPUs.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from attack.transforms.spatial import SpatialRange, apply_maps, draw_maps, draw_scales
from train.randomness import drawn
from train.trades import attack_mode, kl_divergence


def random_view(x: Tensor, span: SpatialRange, generator: Generator) -> Tensor:
    """(N, C, H, W) -> the same images, each under its own random map; a span without extent costs nothing."""
    if not span.is_identity:
        maps = drawn(len(x), generator, lambda n: draw_maps(n, span, generator, x.device, x.dtype))
        x = apply_maps(x, maps, drawn(len(x), generator, lambda n: draw_scales(n, span, generator)))
    return x.contiguous(memory_format=torch.channels_last)


def worst_view(
    model: nn.Module, x: Tensor, natural: Tensor, span: SpatialRange, k: int, generator: Generator
) -> Tensor:
    """Of k random views of each image the one on which the model disagrees most, in KL, with its view of x_natural.

    natural: (N, classes) log probabilities of x_natural. One view needs no pass: there is no choice.
    """
    if k == 1:
        return random_view(x, span, generator)
    with attack_mode(model), torch.no_grad():
        worst, largest = x, torch.full((len(x),), -torch.inf, device=x.device)
        for _ in range(k):
            view = random_view(x, span, generator)
            divergence = kl_divergence(natural, F.log_softmax(model(view).float(), dim=1))
            worse = divergence > largest
            worst = torch.where(worse.view(-1, 1, 1, 1), view, worst)
            largest = torch.maximum(largest, divergence)
    return worst.contiguous(memory_format=torch.channels_last)
