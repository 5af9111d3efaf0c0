"""A tiny copy of CIFAR-10's binary version: every class has a colour of its own."""

from pathlib import Path

import numpy as np

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_batch(file: Path, pictures: int, seed: int) -> None:
    """`pictures` records; classes take turns."""
    generator = np.random.default_rng(seed)
    palette = np.random.default_rng(0).integers(0, 200, (len(CLASSES), 3, 1, 1))
    labels = np.arange(pictures) % len(CLASSES)
    pixels = palette[labels] + generator.integers(0, 56, (pictures, 3, 32, 32))
    records = np.concatenate([labels[:, None], pixels.reshape(pictures, -1)], axis=1)
    file.write_bytes(records.astype(np.uint8).tobytes())


def write_copy(folder: Path, pictures: int = 40) -> Path:
    """Two train batches and the test batch, each of so many pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("data_batch_1", "data_batch_2", "test_batch")):
        write_batch(folder / f"{name}.bin", pictures, seed)
    return folder
