"""Spatter: drops of water with bright rims, or mud. x: (N, 3, S, S) in [0, 1]; S side.

The rims come from OpenCV operations on 8-bit pictures (Canny edges, distance to them, equalised histogram); each is
written here for batches, after its documented definition.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from attack.draws import Draws
from attack.transforms.corruptions.filters import box3, correlate, gaussian
from attack.transforms.corruptions.parameters import PARAMETERS

WATER = (175 / 255, 238 / 255, 238 / 255)
MUD = (63 / 255, 42 / 255, 20 / 255)
RIM_PX = 20
"""Distances to an edge count up to this."""
TAN_22_5 = 0.4142135623730951


def spatter(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Water (severities 1 to 3) is added to the picture, mud (4 and 5) covers it."""
    mean, deviation, sigma, cut, strength, is_mud = PARAMETERS["spatter"][severity - 1]
    noise = mean + deviation * draws.normal(1, *x.shape[-2:])
    liquid = gaussian(noise, sigma)
    liquid = liquid.where(liquid >= cut, torch.zeros_like(liquid))
    if is_mud:
        cover = gaussian((liquid > cut).to(x), strength)
        cover = cover.where(cover >= 0.8, torch.zeros_like(cover))
        return x * (1 - cover) + cover * x.new_tensor(MUD).view(1, 3, 1, 1)
    return x + strength * drops(liquid) * x.new_tensor(WATER).view(1, 3, 1, 1)


def drops(liquid: Tensor) -> Tensor:
    """(N, 1, S, S) liquid in [0, 1] -> (N, 1, S, S) in [0, 1]: how bright each drop is, its rim embossed."""
    liquid = (liquid * 255).floor().clamp(0, 255)
    distance = distance_to(canny(liquid, 50, 150), RIM_PX)
    depth = equalised(box3(distance).floor())
    emboss = torch.tensor([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]])
    embossed = correlate(depth, emboss).round().clamp(0, 255)
    wet = liquid * box3(embossed).round()
    return wet / wet.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)


def canny(x: Tensor, low: float, high: float) -> Tensor:
    """(N, 1, H, W) levels 0 to 255 -> (N, 1, H, W) bool: Canny's edges from Sobel gradients, strength |dx| + |dy|."""
    dx, dy = _sobel(x)
    strength = dx.abs() + dy.abs()
    ridge = _is_ridge(strength, dx, dy)
    edges = ridge & (strength > high)
    candidates = ridge & (strength > low)
    while True:
        grown = (F.max_pool2d(edges.float(), 3, stride=1, padding=1) > 0) & candidates
        if torch.equal(grown, edges):
            return edges
        edges = grown


def _sobel(x: Tensor) -> tuple[Tensor, Tensor]:
    kernel = x.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    gradients = F.conv2d(padded, torch.stack([kernel, kernel.T]).unsqueeze(1))
    return gradients[:, :1], gradients[:, 1:]


def _is_ridge(strength: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Where the strength is the largest across the edge, the direction taken in steps of 45 degrees."""
    height, width = strength.shape[-2:]
    around = F.pad(strength, (1, 1, 1, 1))

    def beside(down: int, right: int) -> Tensor:
        return around[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    flat, steep = dy.abs() < TAN_22_5 * dx.abs(), dy.abs() > dx.abs() / TAN_22_5
    falling = (dx < 0) != (dy < 0)
    across = (strength > beside(0, -1)) & (strength >= beside(0, 1))
    along = (strength > beside(-1, 0)) & (strength >= beside(1, 0))
    down_right = (strength > beside(-1, -1)) & (strength > beside(1, 1))
    down_left = (strength > beside(-1, 1)) & (strength > beside(1, -1))
    return across.where(flat, along.where(steep, down_left.where(falling, down_right)))


def distance_to(edges: Tensor, limit: int) -> Tensor:
    """(N, 1, H, W) bool -> (N, 1, H, W) float32: Euclidean distance in pixels to the nearest edge, at most `limit`.

    Deviation: exact, where OpenCV's 5 x 5 mask is up to 2 % off.
    """
    far = float(limit**2)
    squared = torch.full(edges.shape, far, device=edges.device).masked_fill(edges, 0.0)
    for dim in (2, 3):
        padding = (0, 0, limit, limit) if dim == 2 else (limit, limit, 0, 0)
        padded, side = F.pad(squared, padding, value=far), squared.shape[dim]
        for k in range(2 * limit + 1):
            squared = torch.minimum(squared, padded.narrow(dim, k, side) + float((k - limit) ** 2))
    return squared.sqrt()


def equalised(x: Tensor) -> Tensor:
    """(N, 1, H, W) levels 0 to 255 -> the same, histogram equalised: the lowest level becomes 0, the highest 255."""
    n, _, height, width = x.shape
    levels = x.long().flatten(1)
    counts = torch.zeros(n, 256, device=x.device).scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float32))
    first = (counts > 0).float().argmax(dim=1, keepdim=True)
    lowest = counts.gather(1, first)
    spread = (height * width - lowest).clamp(min=1)
    table = ((counts.cumsum(1) - lowest) / spread * 255).round().clamp(0, 255)
    table = table.where(lowest < height * width, torch.arange(256.0, device=x.device))
    return table.gather(1, levels).view_as(x)
