"""`official.json`: which photos belong to which split, and which of them could not be had."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from model.errors import DataError
from model.files import write_json
from model.labels import CLASSES
from train.official import ID_PATTERN, SPLITS

FILE = "official.json"
Ids = dict[str, list[Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]]]


class Place(NamedTuple):
    """A photo's place in the set."""

    split: str
    class_name: str
    id: str

    @property
    def file(self) -> str:
        """`test/bird/0e5d92fb84cd87d6.jpg`."""
        return f"{self.split}/{self.class_name}/{self.id}.jpg"


class Manifest(BaseModel):
    """What `data download` knows of a folder; `data verify` reads it again."""

    model_config = ConfigDict(extra="forbid")

    version: Literal["0.0.4"] = "0.0.4"
    sources: dict[str, str]
    """The addresses that the ids came from."""
    splits: dict[str, Ids] = Field(default_factory=dict)
    """Split -> class -> ids, in the order of the set."""
    missing: dict[str, str] = Field(default_factory=dict)
    """File of a photo that could not be had -> reason."""

    @field_validator("splits")
    @classmethod
    def _of_this_set(cls, splits: dict[str, Ids]) -> dict[str, Ids]:
        """Splits, classes and ids are parts of paths: another's file may name none but these."""
        if splits.keys() - set(SPLITS) or any(ids.keys() != set(CLASSES) for ids in splits.values()):
            raise ValueError("no splits of this set")
        return splits

    def places(self, split: str) -> Iterator[Place]:
        """The photos of a split."""
        for class_name, ids in self.splits[split].items():
            yield from (Place(split, class_name, photo) for photo in ids)

    def expected(self, split: str, class_name: str) -> list[str]:
        """File names of a class, [] where the split is none of this set."""
        return [f"{photo}.jpg" for photo in self.splits.get(split, {}).get(class_name, [])]

    def save(self, folder: Path) -> None:
        """Write it into the folder of the splits."""
        write_json(folder / FILE, self.model_dump())


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a downloaded set, None where there is none. Raises DataError for another file of that name."""
    try:
        return Manifest.model_validate(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, OSError) as error:
        raise DataError(f"{folder / FILE}: not what data download wrote; delete it and download again") from error
