"""What tells one set of photos from another: a hash over names and bytes."""

import hashlib
import os


class DataDigest:
    """Hex SHA-256 over name and content's SHA-256 of each photo that can be decoded, in the order of `find_photos`.

    It stands in a bundle's `training.data`, and `data verify` prints it.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, name: str, content_sha256: str) -> None:
        """The next photo: `bird/0001.jpg` and the hex hash of its file."""
        self._hash.update(os.fsencode(f"{name}\0{content_sha256}\n"))  # a name need not be UTF-8

    def hexdigest(self) -> str:
        """Of the photos so far."""
        return self._hash.hexdigest()
