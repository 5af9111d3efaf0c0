"""The errors that a user can cause or meet, in one tree; each carries the exit code of the command it ends."""

from collections.abc import Sequence


class TradesBobError(Exception):
    """Root of the project's errors: one clear line for a person, no traceback. Exit code 1."""

    exit_code = 1


class UserError(TradesBobError, ValueError):
    """Something the user gave is wrong; the line names it and says how to mend it. Exit code 2."""

    exit_code = 2


class ConfigError(UserError):
    """A TOML file, an option or an environment variable has an unknown key or a value out of range."""


class DataError(UserError):
    """A folder of photos is missing, empty or not laid out as `bicycle/` and `bird/`."""


class ImageError(UserError):
    """Bytes that are no picture, or a picture beyond the limits."""


class ImageTooLargeError(ImageError):
    """A picture with too many pixels: `pixels`."""

    def __init__(self, message: str, pixels: int) -> None:
        super().__init__(message)
        self.pixels = pixels


class ImageShapeError(ImageError):
    """A picture that is too long and thin."""


class BundleError(UserError):
    """A bundle that is missing, truncated, altered or written by something else."""


class RuntimeUnfitError(TradesBobError):
    """The machine's libraries cannot give an image the same logits at every place in a batch."""


class TrainingError(TradesBobError):
    """Training cannot go on: the loss is not finite, a process died, the disk is full."""


class DownloadError(TradesBobError):
    """A file of a data set cannot be had, or cannot be written."""


class EndpointError(TradesBobError):
    """A live endpoint cannot be reached, or answers something that is no label."""


class RefusedError(EndpointError):
    """A live endpoint refuses what it was sent, by a status that asking again would not change, or by an answer that
    is no label; others may pass."""

    answered: Sequence[str | None] = ()
    """Labels of the pictures that were answered all the same, in their order, None for each of the others; what it does
    not reach to was not answered either."""


class UnansweredError(RefusedError):
    """A live endpoint met trouble of its own (500, say) with what it was sent, as long as there was patience."""
