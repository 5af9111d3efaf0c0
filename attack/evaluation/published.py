"""The published scores of the challenge's warm-up, to stand beside ours."""

from typing import Final, NamedTuple


class Published(NamedTuple):
    """Accuracy in per cent at 80 % coverage, by the name of our row."""

    defence: str
    scores: dict[str, float]


ROWS: Final = ("clean", "corruptions", "spatial", "spsa", "boundary")


def _scores(*values: float) -> dict[str, float]:
    return dict(zip(ROWS, values, strict=True))


PUBLISHED: Final = (
    Published("LLR, ImageNet-pretrained (2019)", _scores(100, 100, 100, 100, 100)),
    Published("TRADESv2 ResNet-50, ImageNet-pretrained (2019)", _scores(100, 100, 99.5, 100, 95.0)),
    Published("undefended Keras ResNet (ImageNet)", _scores(100, 99.2, 92.2, 1.6, 4.0)),
    Published("undefended PyTorch ResNet-50 (extras only)", _scores(98.8, 74.6, 49.5, 2.5, 8.0)),
)
"""Measured by the challenge on its own 250 test photos (boundary: 100) with the kit of 2019."""
