"""Each corruption against a plain NumPy, SciPy and Pillow transcription of its definition, fed with the same draws."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from attack.draws import Draws
from attack.transforms.corruptions import CORRUPTIONS, KIT_CORRUPTIONS, SEVERITIES, blur, corrupt, jpeg, weather
from attack.transforms.corruptions.filters import to_lattice
from attack.transforms.corruptions.parameters import PARAMETERS

pytestmark = pytest.mark.unit
SIDE = 40
SEEDS = (3, 8)


def pictures(n=2, side=SIDE):
    """Smooth colours with hard edges, black, white and grey parts: (n, side, side, 3) uint8."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    stack = []
    for k in range(n):
        channels = [np.sin((c + 2) * 3 * rows + (k + 1) * 2 * columns) ** 2 for c in range(3)]
        picture = np.stack(channels, axis=-1)
        picture[(rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.06] = 0.1 + 0.3 * k
        picture[: side // 8] = 1
        picture[:, -side // 9 :] = 0
        stack.append((picture * 255).astype(np.uint8))
    return np.stack(stack)


def tensor(batch):
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255


def levels(x):
    return (x.permute(0, 2, 3, 1) * 255).round().numpy()


class Recorder(Draws):
    """Keeps what was drawn, so that a transcription can use the same numbers, picture by picture."""

    def __init__(self, *args):
        super().__init__(*args)
        self.drawn = []

    def _stack(self, draw):
        numbers = super()._stack(draw)
        self.drawn.append(numbers)
        return numbers

    def of(self, index):
        return iter([numbers[index].numpy() for numbers in self.drawn])


def smooth(x, sigma, **options):
    sigmas = (sigma, sigma, 0)[: x.ndim]
    return ndimage.gaussian_filter(x, sigmas, mode=options.pop("mode", "nearest"), **options)


def t_gaussian_noise(x, c, draws):
    return x + c[0] * next(draws).transpose(1, 2, 0)


def t_impulse_noise(x, c, draws):
    hit, salt = next(draws)
    out = x.copy()
    hit, salt = hit.transpose(1, 2, 0) <= c[0], salt.transpose(1, 2, 0) > 0.5
    out[hit & salt], out[hit & ~salt] = 1, 0
    return out


def t_speckle_noise(x, c, draws):
    return x + x * next(draws).transpose(1, 2, 0) * c[0]


def t_gaussian_blur(x, c, draws):
    return smooth(x, c[0])


def t_defocus_blur(x, c, draws):
    radius, alias = c
    along = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
    disk = ((along[:, None] ** 2 + along[None] ** 2) <= radius**2).astype(float)
    disk /= disk.sum()
    taps = np.exp(-((np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)) ** 2) / (2 * alias**2))
    taps /= taps.sum()
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, taps, axis=axis, mode="mirror")
    return np.stack([ndimage.correlate(x[..., channel], disk, mode="mirror") for channel in range(3)], axis=-1)


def t_motion(x, radius, sigma, angle):
    """A pixel at a time: a one-sided Gaussian along the angle, whole-pixel steps, the border repeated."""
    width = 2 * int(np.ceil(radius)) + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    height, columns = x.shape[:2]
    rows, cols = np.mgrid[0:height, 0:columns]
    out = np.zeros_like(x)
    for i, weight in enumerate(weights):
        right = int(np.ceil(i * np.cos(np.deg2rad(angle)) - 0.5))
        down = int(np.ceil(i * np.sin(np.deg2rad(angle)) - 0.5))
        out += weight * x[(rows + down).clip(0, height - 1), (cols + right).clip(0, columns - 1)]
    return out


def t_motion_blur(x, c, draws):
    return t_motion(x, *c, next(draws) * 90 - 45)


def t_clipped_zoom(x, factor):
    side = x.shape[0]
    window = int(np.ceil(side / factor))
    top = (side - window) // 2
    zoomed = ndimage.zoom(x[top : top + window, top : top + window], (factor, factor, 1), order=1)
    trim = (zoomed.shape[0] - side) // 2
    return zoomed[trim : trim + side, trim : trim + side]


def t_zoom_blur(x, c, draws):
    factors = np.arange(1, *c)
    return (x + sum(t_clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def t_glass_blur(x, c, draws):
    sigma, reach, rounds = c
    side = x.shape[0]
    x = np.uint8(smooth(x, sigma) * 255 + 1e-4)
    for _ in range(rounds):
        right, down = next(draws)
        for row in range(side - reach, reach, -1):
            for column in range(side - reach, reach, -1):
                # The published swap of two views: the second half reads what the first has written.
                x[row, column] = x[row + down[row, column], column + right[row, column]]
    return smooth(x / 255, sigma)


def t_plasma(side, decay, draws):
    size = 1
    while size < side:
        size *= 2
    field = np.zeros((size, size))
    step, rough = size, 100.0
    while step >= 2:
        half = step // 2

        def jittered(total, rough=rough):
            return total / 4 + rough * ((next(draws) * 2 - 1) * rough)

        for rows, columns in ((half, half), (0, half), (half, 0)):
            total = np.zeros((size // step, size // step))
            for i, row in enumerate(range(rows, size, step)):
                for j, column in enumerate(range(columns, size, step)):
                    if rows == columns:
                        around = [(-half, -half), (-half, half), (half, -half), (half, half)]
                    else:
                        around = [(-half, 0), (half, 0), (0, -half), (0, half)]
                    total[i, j] = sum(field[(row + a) % size, (column + b) % size] for a, b in around)
            field[rows::step, columns::step] = jittered(total)
        step, rough = half, rough / decay
    field -= field.min()
    return (field / field.max())[:side, :side]


def t_fog(x, c, draws):
    top = x.max()
    return (x + c[0] * t_plasma(len(x), c[1], draws)[..., None]) * top / (top + c[0])


def t_snow(x, c, draws):
    layer = t_clipped_zoom(c[0] + c[1] * next(draws)[0][..., None], c[2])
    layer[layer < c[3]] = 0
    layer = np.floor(layer.clip(0, 1) * 255 + 1e-4) / 255
    layer = np.floor(t_motion(layer, c[4], c[5], next(draws) * 90 - 135) * 255 + 1e-4) / 255
    grey = (x * [0.299, 0.587, 0.114]).sum(-1, keepdims=True)
    return c[6] * x + (1 - c[6]) * np.maximum(x, grey * 1.5 + 0.5) + layer + np.rot90(layer, 2)


def t_brightness(x, c, draws):
    hsv = to_hsv(x)
    hsv[..., 2] = (hsv[..., 2] + c[0]).clip(0, 1)
    return from_hsv(hsv)


def t_saturate(x, c, draws):
    hsv = to_hsv(x)
    hsv[..., 1] = (hsv[..., 1] * c[0] + c[1]).clip(0, 1)
    return from_hsv(hsv)


def to_hsv(x):
    import colorsys

    return np.apply_along_axis(lambda rgb: colorsys.rgb_to_hsv(*rgb), -1, x)


def from_hsv(hsv):
    import colorsys

    return np.apply_along_axis(lambda row: colorsys.hsv_to_rgb(*row), -1, hsv)


def t_contrast(x, c, draws):
    mean = x.mean((0, 1), keepdims=True)
    return (x - mean) * c[0] + mean


def t_pixelate(x, c, draws):
    side = len(x)
    picture = Image.fromarray((x * 255).round().astype(np.uint8))
    small = picture.resize((int(side * c[0]), int(side * c[0])), Image.Resampling.BOX)
    return np.asarray(small.resize((side, side), Image.Resampling.BOX)) / 255


def t_elastic_transform(x, c, draws):
    side = len(x)
    centre, half = side // 2, side // 3
    corners = np.array([[half, half], [half, -half], [-half, -half]]) + centre
    moved = corners + (next(draws) * 2 - 1) * c[2]
    back = np.linalg.solve(np.c_[moved, np.ones(3)], corners)  # a result's place -> its source
    rows, columns = np.mgrid[0:side, 0:side]
    source = np.stack([columns, rows, np.ones_like(rows)], -1) @ back
    x = warped(x, source[..., 1], source[..., 0], "mirror")
    right, down = (smooth(n * 2 - 1.0, c[1], truncate=3, mode="reflect") * c[0] for n in next(draws))
    return warped(x, rows + down, columns + right, "reflect")


def warped(x, rows, columns, mode):
    channels = [ndimage.map_coordinates(x[..., k], [rows, columns], order=1, mode=mode) for k in range(3)]
    return np.stack(channels, -1)


def t_spatter(x, c, draws):
    liquid = smooth(c[0] + c[1] * next(draws)[0].astype(float), c[2])
    liquid[liquid < c[3]] = 0
    if c[5] == 1:
        mud = smooth((liquid > c[3]).astype(float), c[4])
        mud[mud < 0.8] = 0
        return x * (1 - mud[..., None]) + mud[..., None] * np.array([63, 42, 20]) / 255
    liquid = np.floor(liquid * 255).clip(0, 255)
    distance = np.minimum(ndimage.distance_transform_edt(~t_canny(liquid)), 20)
    depth = np.floor(ndimage.uniform_filter(distance, 3, mode="mirror") + 1e-6)
    counts = np.bincount(depth.astype(int).ravel(), minlength=256)
    lowest = counts[counts > 0][0]
    table = np.round((counts.cumsum() - lowest) / (counts.sum() - lowest) * 255)
    depth = table[depth.astype(int)]
    embossed = ndimage.correlate(depth, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]), mode="mirror").clip(0, 255)
    wet = liquid * np.round(ndimage.uniform_filter(embossed, 3, mode="mirror"))
    return x + c[4] * (wet / wet.max())[..., None] * np.array([175, 238, 238]) / 255


def t_canny(x, low=50, high=150):
    dx = ndimage.correlate(x, np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]), mode="nearest")
    dy = ndimage.correlate(x, np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]), mode="nearest")
    strength = np.pad(np.abs(dx) + np.abs(dy), 1)
    edges = np.zeros(x.shape, dtype=int)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            around = strength[row : row + 3, column : column + 3]
            here, a, b = around[1, 1], abs(dx[row, column]), abs(dy[row, column])
            if b < np.tan(np.pi / 8) * a:
                ridge = here > around[1, 0] and here >= around[1, 2]
            elif b > np.tan(3 * np.pi / 8) * a:
                ridge = here > around[0, 1] and here >= around[2, 1]
            elif (dx[row, column] < 0) != (dy[row, column] < 0):
                ridge = here > around[0, 2] and here > around[2, 0]
            else:
                ridge = here > around[0, 0] and here > around[2, 2]
            edges[row, column] = ridge * ((here > low) + (here > high) * 1)
    parts, _ = ndimage.label(edges > 0, structure=np.ones((3, 3)))
    return np.isin(parts, parts[edges == 2]) & (edges > 0)


TRANSCRIBED = {name[2:]: function for name, function in list(globals().items()) if name[2:] in CORRUPTIONS}
ELSEWHERE = {"shot_noise", "jpeg_compression", "frost"}


def test_every_corruption_is_compared():
    assert set(TRANSCRIBED) | ELSEWHERE == set(CORRUPTIONS)
    assert len(CORRUPTIONS) == 19
    assert len(KIT_CORRUPTIONS) == 17


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", sorted(TRANSCRIBED))
def test_equals_its_transcription(name, severity):
    batch = pictures()
    draws = Recorder(SEEDS)
    actual = levels(to_lattice(CORRUPTIONS[name](tensor(batch), severity, draws)))
    for index, picture in enumerate(batch):
        expected = TRANSCRIBED[name](picture / 255, PARAMETERS[name][severity - 1], draws.of(index))
        difference = np.abs(actual[index] - np.floor(expected.clip(0, 1) * 255 + 1e-4))
        # One level where float32 and float64 fall on two sides of a whole number.
        assert np.quantile(difference, 0.999) <= 1, f"{name} {severity}: {difference.mean()}"
        assert difference.mean() < 0.05


def test_the_published_parameters():
    published = {
        "gaussian_noise": [0.08, 0.12, 0.18, 0.26, 0.38],
        "shot_noise": [60, 25, 12, 5, 3],
        "impulse_noise": [0.03, 0.06, 0.09, 0.17, 0.27],
        "speckle_noise": [0.15, 0.2, 0.35, 0.45, 0.6],
        "gaussian_blur": [1, 2, 3, 4, 6],
        "contrast": [0.4, 0.3, 0.2, 0.1, 0.05],
        "brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
        "pixelate": [0.6, 0.5, 0.4, 0.3, 0.25],
        "jpeg_compression": [25, 18, 15, 10, 7],
    }
    for name, strengths in published.items():
        assert [row[0] for row in PARAMETERS[name]] == strengths
    assert [row[0] for row in PARAMETERS["defocus_blur"]] == [3, 4, 6, 8, 10]
    assert PARAMETERS["motion_blur"] == ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
    assert PARAMETERS["glass_blur"] == ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
    assert PARAMETERS["fog"] == ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
    assert [len(np.arange(1, *row)) for row in PARAMETERS["zoom_blur"]] == [12, 16, 11, 13, 11]


def test_shot_noise_has_the_mean_and_variance_of_counting_photons():
    for severity, (photons,) in enumerate(PARAMETERS["shot_noise"], start=1):
        x = torch.full((1, 3, 128, 128), 0.2)
        noisy = CORRUPTIONS["shot_noise"](x, severity, Draws([5]))
        assert float(noisy.mean()) == pytest.approx(0.2, abs=0.01)
        assert float(noisy.var()) == pytest.approx(0.2 / photons, rel=0.05)


@pytest.mark.parametrize("quality", [25, 18, 15, 10, 7, 90, 100])
@pytest.mark.parametrize("side", [40, 224])  # 40 is no multiple of the 16 pixels of a block with halved colours
def test_jpeg_is_as_pillow_writes_and_reads_it(quality, side):
    batch = pictures(side=side)
    actual = levels(jpeg.jpeg(tensor(batch), quality))
    for index, picture in enumerate(batch):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        expected = np.asarray(Image.open(file)).astype(float)
        loss = np.abs(expected - picture).mean()
        assert np.abs(actual[index] - expected).mean() < max(0.2 * loss, 0.5)
        assert np.abs(actual[index] - picture).mean() == pytest.approx(loss, rel=0.05)


def test_frost_keeps_the_published_proportions_and_grows():
    x = tensor(pictures())
    pane = weather.frosted_pane(SIDE, Draws(SEEDS))
    changes = []
    for severity, (share, share_frost) in enumerate(PARAMETERS["frost"], start=1):
        frosted = CORRUPTIONS["frost"](x, severity, Draws(SEEDS))
        torch.testing.assert_close(frosted, share * x + share_frost * pane)
        changes.append(float((frosted.clamp(0, 1) - x).abs().mean()))
    assert changes[0] > 0.1
    assert 0.2 < float(pane.mean()) < 0.8
    assert float(pane.std()) > 0.05


def test_the_disk_of_the_definition():
    disk = blur.disk(3, 0.1)
    assert disk.shape == (17, 17)
    assert int((disk > 1e-6).sum()) == 29  # lattice points within 3 of the origin
    assert float(disk.sum()) == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_a_picture_keeps_its_result_in_any_batch(name):
    x = tensor(pictures(n=3, side=48))
    together = corrupt(x, name, 1, [11, 12, 13])
    alone = corrupt(x[1:2], name, 1, [12])
    assert torch.equal(together[1:2], alone) or float((together[1:2] - alone).abs().max()) <= 1 / 254
    assert together.shape == x.shape
    assert float(together.min()) >= 0
    assert float(together.max()) <= 1
    assert torch.equal((together * 255).round() / 255, together)  # on the 8-bit lattice


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_seeds_decide(name):
    x = tensor(pictures(n=1, side=48))
    first, again, other = (corrupt(x, name, 3, [seed]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    deterministic = {
        "defocus_blur",
        "zoom_blur",
        "brightness",
        "contrast",
        "pixelate",
        "jpeg_compression",
        "gaussian_blur",
        "saturate",
    }
    assert torch.equal(first, other) == (name in deterministic)


def test_draws_are_what_they_say():
    draws = Draws([0, 1])
    assert float(draws.normal(50_000).std()) == pytest.approx(1, abs=0.01)
    uniform = draws.uniform(50_000, low=-45, high=45)
    assert (round(float(uniform.min())), round(float(uniform.max())), abs(float(uniform.mean())) < 0.5) == (
        -45,
        45,
        True,
    )
    assert set(draws.integers(1000, low=-2, high=2).flatten().tolist()) == {-2, -1, 0, 1}


def test_an_unknown_severity_is_refused():
    with pytest.raises(ValueError, match="1 to 5"):
        corrupt(tensor(pictures(n=1)), "fog", 6, [0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_the_gpu_gives_the_same_pictures(name):
    x = tensor(pictures(side=224))
    difference = (corrupt(x.cuda(), name, 2, SEEDS).cpu() - corrupt(x, name, 2, SEEDS)).abs()
    assert float(difference.mean()) < 0.2 / 255
