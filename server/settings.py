"""What can be set about the service: environment variables that begin with TRADES_BOB_, a few of them also flags."""

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.cpus import usable_cpus
from model.errors import ConfigError

PREFIX = "TRADES_BOB_"
MAX_DECODE_THREADS: Final = 64


def _decode_threads() -> int:
    return min(MAX_DECODE_THREADS, max(2, usable_cpus()))


class Settings(BaseSettings):
    """All settings of `trades-bob serve`. The environment variable of `max_queue` is TRADES_BOB_MAX_QUEUE."""

    # An empty variable is as good as none: that is how compose and systemd pass on what is not set.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    host: str = "127.0.0.1"
    """Address to listen on; a container sets 0.0.0.0."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    bundle: Path | None = None
    """Folder of the bundle to serve; without it, the released weights that come with the package."""
    runtime: Literal["auto", "torch", "onnx"] = "auto"
    """What computes: torch on CUDA where there is a device, else ONNX Runtime on the CPU."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the model; all that the container may use where it is not set."""
    decode_threads: int = Field(default_factory=_decode_threads, ge=1, le=MAX_DECODE_THREADS)
    """Threads that decode pictures beside the event loop; as many as usable CPUs, from 2 to 64, where it is not set."""
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024)
    """Larger bodies, and those above max_buffered_bytes, are refused (413) before they are read."""
    max_buffered_bytes: int = Field(default=128 * 2**20, ge=1024)
    """Bytes of bodies held at once, and as many of pipelined requests that wait; beyond it there is a refusal (503)."""
    max_pixels: int = Field(default=16_000_000, ge=1024)
    """Pictures with more pixels are refused (413) before they are decoded."""
    max_decoding_pixels: int = Field(default=32_000_000, ge=1024)
    """Pixels of pictures of over 1,000,000 being decoded at once, 30 bytes each at most; further ones wait in line."""
    max_batch: int = Field(default=64, ge=1, le=1024)
    """Images in one request to /predict/batch, never more than max_queue and, with a rate limit, rate_burst (413)."""
    max_queue: int = Field(default=256, ge=1, le=65536)
    """Images being decoded, waiting or computed at once; beyond it requests are refused (503)."""
    max_connections: int = Field(default=512, ge=1)
    """Open connections; a further one takes the place of that which waits longest for its client, or gets 503."""
    header_timeout_s: float = Field(default=10, gt=0)
    """Time a client has for the head of a request, from the first moment of a connection."""
    body_timeout_s: float = Field(default=20, gt=0)
    """Time a client has for the body of a request (408)."""
    keep_alive_s: float = Field(default=30, gt=0)
    """Time an idle connection stays open between requests."""
    request_timeout_s: float = Field(default=30, gt=0)
    """Time from the whole body to the label, decoding and queue alike; what is not begun by then is dropped (503)."""
    drain_timeout_s: float = Field(default=25, gt=0)
    """Time that requests in hand get after SIGTERM."""
    load_timeout_s: float = Field(default=300, gt=0)
    """Time a worker has to open the bundle and warm up; then it is killed and started anew, or a reload given up."""
    worker_timeout_s: float = Field(default=60, gt=0)
    """A batch that takes longer, or a worker that shows no sign of life as long, is killed and started anew."""
    api_keys_file: Path | None = None
    """File of API keys, `name:sha256` a line (`trades-bob make-key`); without it no key is asked for."""
    rate_limit_per_s: float = Field(default=0, ge=0)
    """Images per second for each key, or for each address where there are no keys; 0 sets no limit."""
    rate_burst: int = Field(default=256, ge=1)
    """Images that a caller may ask for at once after a pause, when there is a rate limit."""
    trusted_proxies: str = ""
    """Addresses of proxies, comma-separated, whose X-Forwarded-For tells the caller's address; none by default."""
    half_precision_photos: Path | None = None
    """Folder of validation photos (`bicycle/`, `bird/`): on CUDA, half precision serves if all keep their labels."""
    log_requests: bool = True
    """Whether each request is logged as one JSON line on stderr."""

    @property
    def bytes_per_body(self) -> int:
        """How many a body may have: one that could never be held is refused for good, and not for now."""
        return min(self.max_body_bytes, self.max_buffered_bytes)

    @property
    def images_per_request(self) -> int:
        """How many a request may have: more than the queue or the caller's bucket hold could never be answered."""
        burst = self.rate_burst if self.rate_limit_per_s else self.max_batch
        return min(self.max_batch, self.max_queue, burst)

    @property
    def pixels_per_picture(self) -> int:
        """How many a picture may have: never more than are decoded at once."""
        return min(self.max_pixels, self.max_decoding_pixels)


def read_settings(**given: Any) -> Settings:
    """The environment, and what the command line gave over it. Raises ConfigError naming the variable."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{PREFIX}{name.upper()}: {first['msg']}") from error
