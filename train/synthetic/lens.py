"""The camera: blur, sampling, sharpening, exposure, colour, noise and JPEG, of one distribution for both classes."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from train.synthetic.chance import Rng, happens, uniform

LEAST_DETAIL_PX = 64
"""A picture is never sampled more coarsely than this before it is enlarged."""


def exposed(scene: Image.Image, size: int, rng: Rng) -> npt.NDArray[np.uint8]:
    """A scene of any side seen by a random camera: (size, size, 3) uint8."""
    picture = _sharpened(_sampled(_blurred(scene, rng), size, rng), rng)
    pixels = _developed(np.asarray(picture).astype(np.float32), rng)
    pixels += np.float32(uniform(rng, 0, 13)) * rng.standard_normal(pixels.shape, dtype=np.float32)
    noisy = pixels.clip(0, 255).astype(np.uint8)
    return _compressed(noisy, int(rng.integers(35, 96))) if happens(rng, 0.7) else noisy


def _blurred(scene: Image.Image, rng: Rng) -> Image.Image:
    """Out of focus a little, half of the time."""
    if happens(rng, 0.5):
        return scene
    return scene.filter(ImageFilter.GaussianBlur(scene.width * uniform(rng, 0.0005, 0.004)))


def _sampled(scene: Image.Image, size: int, rng: Rng) -> Image.Image:
    """Down to `size`, half of the time by way of a coarser picture that is enlarged again."""
    coarse = max(min(LEAST_DETAIL_PX, size), round(size / uniform(rng, 1, 2.2)))
    if happens(rng, 0.5) or coarse == size:
        return scene.resize((size, size), Image.Resampling.BOX)
    kernel = Image.Resampling.BICUBIC if happens(rng, 0.7) else Image.Resampling.BILINEAR
    return scene.resize((coarse, coarse), Image.Resampling.BOX).resize((size, size), kernel)


def _sharpened(picture: Image.Image, rng: Rng) -> Image.Image:
    """The sharpening of many a camera: unsharp masking, one time in three."""
    if happens(rng, 0.65):
        return picture
    return picture.filter(ImageFilter.UnsharpMask(uniform(rng, 0.5, 1.5), int(rng.integers(40, 200)), 2))


def _developed(pixels: npt.NDArray[np.float32], rng: Rng) -> npt.NDArray[np.float32]:
    """Exposure, white balance, contrast, saturation and vignette."""
    balance = rng.normal(1, 0.04, 3).astype(np.float32) * np.float32(uniform(rng, 0.8, 1.2))
    pixels = 255 * (pixels / 255) ** np.float32(uniform(rng, 0.8, 1.3)) * balance
    mean = pixels.mean()
    pixels = mean + (pixels - mean) * np.float32(uniform(rng, 0.75, 1.35))
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * np.float32(
        uniform(rng, 0.0, 0.1) if happens(rng, 0.06) else uniform(rng, 0.65, 1.25)
    )
    reach = np.linspace(-1, 1, len(pixels), dtype=np.float32) ** 2
    return np.asarray(
        pixels * (1 - np.float32(uniform(rng, 0, 0.16)) * (reach[:, None] + reach)[:, :, None]), dtype=np.float32
    )


def _compressed(pixels: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))
