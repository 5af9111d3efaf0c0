"""The answers there are. No torch here: the HTTP client imports this."""

from typing import Final

CLASSES: Final = ("bicycle", "bird")
"""Class names by index, in `ImageFolder` order: bicycle 0, bird 1."""
ABSTAIN: Final = "abstain"
LABELS: Final = (*CLASSES, ABSTAIN)
