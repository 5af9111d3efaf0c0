"""Where the official photos come from, and how patient their download is: TRADES_BOB_DOWNLOAD_..."""

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.errors import ConfigError
from train.official import VERSION

PREFIX = "TRADES_BOB_DOWNLOAD_"
KIT = "https://raw.githubusercontent.com/google/unrestricted-adversarial-examples"
KIT_COMMIT = "7285875bfec2639be8e9867ea746407e061c653b"


class DownloadSettings(BaseSettings):
    """The environment variable of `images_url` is TRADES_BOB_DOWNLOAD_IMAGES_URL."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True)

    ids_url: str = f"{KIT}/{KIT_COMMIT}/bird-or-bicycle/bird_or_bicycle/metadata/{VERSION}"
    """Folder of `bird_image_ids.csv` and `bicycle_image_ids.csv`, the ids of `test` and `train`."""
    boxes_url: str = "https://storage.googleapis.com/openimages/2018_04/train/train-annotations-bbox.csv"
    """The boxes of the Open Images V4 training photos, from which `extras` follows; 1.2 GB, read as it flows by."""
    images_url: str = "https://open-images-dataset.s3.amazonaws.com/train"
    """Folder of the photos, `ID.jpg` each."""
    workers: int = Field(default=16, ge=1, le=256)
    """Photos that are fetched at once; each holds at most one photo in memory."""
    timeout_s: float = Field(default=30, gt=0)
    """Longest silence of a server before the request is made anew."""
    photo_timeout_s: float = Field(default=120, gt=0)
    """Longest time for one photo in one request; a server that drips is asked anew too."""
    patience_s: float = Field(default=90, gt=0)
    """Time for one photo over all its requests, and for the boxes without any byte of news."""
    max_photo_bytes: int = Field(default=32 * 2**20, ge=1024)
    """A longer body is no photo of this set."""


def read_settings() -> DownloadSettings:
    """From the environment. Raises ConfigError naming the variable."""
    try:
        return DownloadSettings()
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{PREFIX}{str(first['loc'][0]).upper()}: {first['msg']}") from error
