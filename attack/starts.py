"""The photos of the other class that attacks may start from."""

from collections.abc import Iterator, Sequence

import numpy as np

from model.console import say
from model.errors import ImageError
from model.photos import Photo
from model.pixels import Pixels, load_square


class Starts:
    """Photos of both classes, at one size. One that cannot be read is named once, and left out.

    D values of a picture.
    """

    def __init__(self, pool: Sequence[Photo], size: int) -> None:
        self.pool, self.size = pool, size
        self._unreadable: set[Photo] = set()

    def against(self, label: int, seed: int) -> Iterator[Pixels]:
        """(D,) photos of the other class in random order."""
        others = self._others(label)
        for place in np.random.default_rng(seed).permutation(len(others)):
            if (pixels := self._read(others[place])) is not None:
                yield pixels.ravel()

    def readable_against(self, label: int) -> bool:
        """Whether a photo of the other class is left that was not found unreadable."""
        return not self._unreadable.issuperset(self._others(label))

    def _others(self, label: int) -> list[Photo]:
        return [photo for photo in self.pool if photo.label != label]

    def _read(self, photo: Photo) -> Pixels | None:
        if photo in self._unreadable:
            return None
        try:
            return load_square(photo.path, self.size)
        except ImageError as error:
            say(f"no attack starts from {photo.name}: {error}")
            self._unreadable.add(photo)
            return None
