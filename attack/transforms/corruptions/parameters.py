"""The strengths of the nineteen corruptions, severities 1 to 5 (Hendrycks and Dietterich 2019, and their code).

Lengths are pixels of a 224 x 224 picture.
"""

from typing import Final

PARAMETERS: Final[dict[str, tuple[tuple[float, ...], ...]]] = {
    # standard deviation
    "gaussian_noise": ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    # photons at full brightness
    "shot_noise": ((60,), (25,), (12,), (5,), (3,)),
    # share of values
    "impulse_noise": ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    # standard deviation at full brightness
    "speckle_noise": ((0.15,), (0.2,), (0.35,), (0.45,), (0.6,)),
    # sigma
    "gaussian_blur": ((1,), (2,), (3,), (4,), (6,)),
    # radius of the disk, sigma of its rim
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    # sigma, reach, rounds
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    # radius, sigma
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    # zoom factors from 1: stop (not included), step
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    # mean and deviation of the flakes' noise, zoom, cut-off, radius and sigma of their fall, share of the picture
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    # share of the picture, share of the frost
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    # amount, decay of the fractal's detail
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    # added to the value of HSV
    "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    # share of the distance to the mean
    "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    # factor and summand of the saturation of HSV
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    # displacement, its smoothness (sigma), jitter of the affine map's corners; 244 where 224 was meant, as it ran
    "elastic_transform": tuple(
        (244 * displacement, 244 * sigma, 244 * jitter)
        for displacement, sigma, jitter in (
            (2, 0.7, 0.1),
            (2, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        )
    ),
    # share of the side that is left
    "pixelate": ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    # quality
    "jpeg_compression": ((25,), (18,), (15,), (10,), (7,)),
    # mean and deviation of the liquid's noise, its sigma, cut-off, strength (water) or softness (mud), 0 water or 1 mud
    "spatter": (
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
}
SEVERITIES: Final = (1, 2, 3, 4, 5)
