"""The official bird-or-bicycle photos, version 0.0.4: which they are, where they lie, and how they are brought here.

The splits are those of google/unrestricted-adversarial-examples (bird-or-bicycle 0.0.4, dataset.py), whose own
downloader needs wget, the AWS command line and packages of 2018.
"""

VERSION = "0.0.4"
PER_CLASS = {"test": 125, "train": 125, "extras": 13_750}
"""Photos of each class in each split; of `extras` at most so many."""
SPLITS = tuple(PER_CLASS)
ID_PATTERN = "[0-9a-f]{16}"
"""Of a photo; its file is named so."""
SIDE = 299
"""Side in pixels of the stored squares."""
