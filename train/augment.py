"""Random changes of a batch of photos on their device, drawn alike for both classes.

The photos have biases that would become shortcuts: bicycles are soft and stand on white, birds are sharp. Resolution,
JPEG, noise and the backdrop are there to take them away. N batch, S stored side, H network's side.
"""

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from torch import Generator, Tensor

from train.config import AugmentConfig

SHUTTER_MOMENTS = 7


def augment(photos: Tensor, size: int, config: AugmentConfig, generator: Generator) -> Tensor:
    """(N, 3, S, S) uint8 -> (N, 3, size, size) float32 in [0, 1], on the device of `photos` and `generator`."""
    x = _crop(photos.float() / 255, size, config, generator)
    x = _pad_and_crop(x, config.pad_px, generator)
    x = _backdrop(x, config.backdrop, generator)
    x = _colour(x, config, generator)
    x = _haze(x, config.haze, generator)
    x = _resolution(x, config, generator)
    x = _motion(x, config.motion, generator)
    x = _noise(x, config.noise, generator)
    return _jpeg(x, config.jpeg, generator).clamp(0, 1)


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """(n, 1, 1, 1), to multiply images with."""
    return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator, device=generator.device)


def _chosen(n: int, share: float, generator: Generator) -> Tensor:
    """(n, 1, 1, 1) bool, true for about `share`."""
    return torch.rand(n, 1, 1, 1, generator=generator, device=generator.device) < share


def _crop(x: Tensor, size: int, config: AugmentConfig, generator: Generator) -> Tensor:
    """A random square window, mirrored or not, sheared or not, in one bilinear resampling."""
    n = len(x)
    side = _uniform(n, config.crop_scale, 1.0, generator).sqrt()
    mirror = 1 - 2 * (_chosen(n, 0.5, generator) & config.flip).to(x.dtype)
    room = 1 - side
    dx, dy = (room * _uniform(n, -1, 1, generator) for _ in range(2))
    zero = torch.zeros_like(side)
    rows = [torch.cat([side * mirror, zero, dx], dim=3), torch.cat([zero, side, dy], dim=3)]
    windows = torch.cat(rows, dim=2).squeeze(1)
    if config.shear:
        windows = torch.cat([_sheared(windows[..., :2], config.shear, generator), windows[..., 2:]], dim=2)
    grid = F.affine_grid(windows, [n, 3, size, size], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _sheared(maps: Tensor, most: float, generator: Generator) -> Tensor:
    """(N, 2, 2) maps, each after one that is the identity but for `most`."""
    change = most * (2 * torch.rand(maps.shape, generator=generator, device=maps.device) - 1)
    return maps @ (torch.eye(2, device=maps.device) + change)


def _pad_and_crop(x: Tensor, pad: int, generator: Generator) -> Tensor:
    """Shift each image by whole pixels; nothing is drawn where `pad` is 0."""
    if not pad:
        return x
    n, _, height, width = x.shape
    top, left = torch.randint(2 * pad + 1, (2, n, 1), generator=generator, device=generator.device)
    rows = top + torch.arange(height, device=x.device)
    columns = left + torch.arange(width, device=x.device)
    image = torch.arange(n, device=x.device)[:, None, None]
    return F.pad(x, (pad,) * 4).permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def _backdrop(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Multiply some photos with another of the batch, brightened: what is white becomes that photo."""
    other = x[torch.randperm(len(x), generator=generator, device=generator.device)]
    light = _uniform(len(x), 0.3, 0.7, generator)
    return torch.where(_chosen(len(x), share, generator), x * (light + (1 - light) * other), x)


def _colour(x: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    n = len(x)
    grey = x.mean(dim=1, keepdim=True)
    saturation = _uniform(n, 1 - config.saturation, 1 + config.saturation, generator)
    saturation = torch.where(_chosen(n, config.grey, generator), 0.0, saturation)
    x = grey + saturation * (x - grey)
    middle = x.mean(dim=(1, 2, 3), keepdim=True)
    x = middle + _uniform(n, 1 - config.contrast, 1 + config.contrast, generator) * (x - middle)
    return (x * _uniform(n, 1 - config.brightness, 1 + config.brightness, generator)).clamp(0, 1)


def _haze(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Blend some photos with a bright cloud, as fog does: (x + s cloud) / (1 + s), s up to 2."""
    strength = _uniform(len(x), 0, 2, generator) * _chosen(len(x), share, generator)
    return (x + strength * _cloud(x, generator)) / (1 + strength)


def _cloud(x: Tensor, generator: Generator) -> Tensor:
    """(N, 1, S, S) fractal fields from 0 to 1: octaves from 2 x 2 values to 32 x 32, finer ones weaker."""
    decay = _uniform(len(x), 1.2, 2.5, generator)
    octaves = []
    for octave in range(5):
        side = 2 ** (octave + 1)
        values = torch.rand(len(x), 1, side, side, generator=generator, device=x.device)
        octaves.append(F.interpolate(values, size=x.shape[-2:], mode="bilinear") / decay**octave)
    cloud = torch.stack(octaves).sum(dim=0)
    least, most = cloud.amin(dim=(1, 2, 3), keepdim=True), cloud.amax(dim=(1, 2, 3), keepdim=True)
    return (cloud - least) / (most - least)


def _resolution(x: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Scale a share of the batch down and up; one factor for each of four groups, since a batch has one shape.

    The factors are drawn on the CPU, from a seed that follows from the generator's: asking a GPU would wait for it.
    """
    own = Generator().manual_seed(generator.initial_seed() ^ 1)
    groups = []
    for group in x.chunk(4):
        factor = float(_uniform(1, config.resolution_min, 1.0, own))
        small = F.interpolate(group, scale_factor=factor, mode="bilinear", antialias=True)
        soft = F.interpolate(small, size=group.shape[-2:], mode="bilinear")
        groups.append(torch.where(_chosen(len(group), config.resolution, generator), soft, group))
    return torch.cat(groups)


def _motion(x: Tensor, share: float, generator: Generator) -> Tensor:
    """The mean of what a camera sees that moves along a line and zooms while the shutter is open."""
    if not share:
        return x
    zoom = _uniform(len(x), -0.05, 0.05, generator)
    dx, dy = (_uniform(len(x), -0.08, 0.08, generator) for _ in range(2))  # of half a side, each way
    still, zero = torch.ones_like(zoom), torch.zeros_like(zoom)
    total = torch.zeros_like(x)
    moments = torch.linspace(-1, 1, SHUTTER_MOMENTS).tolist()
    for t in moments:
        rows = [torch.cat(row, dim=3) for row in ([still + t * zoom, zero, t * dx], [zero, still + t * zoom, t * dy])]
        grid = F.affine_grid(torch.cat(rows, dim=2).squeeze(1), list(x.shape), align_corners=False)
        total = total + F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return torch.where(_chosen(len(x), share, generator), total / len(moments), x)


def _noise(x: Tensor, share: float, generator: Generator) -> Tensor:
    strength = _uniform(len(x), 0, 0.08, generator) * _chosen(len(x), share, generator)
    return x + strength * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _jpeg(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Compress a fixed number of photos, the share rounded: their places are random, since the batch is."""
    count = round(share * len(x))
    if not count:
        return x
    places = torch.randperm(len(x), generator=generator, device=generator.device)[:count]
    quality = _uniform(count, 30, 95, generator).flatten()
    x = x.clone()
    x[places] = jpeg_codec_differentiable(x[places].clamp(0, 1), quality)
    return x
