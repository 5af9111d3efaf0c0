"""What a submission must keep to: the contest's rules, the warm-up's, or an organiser's own TOML."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from model.errors import ConfigError
from model.toml import from_table, read_toml


class Rules(BaseModel):
    """The limits of the container and the bounds of each check. The defaults are the contest's (Brown et al. 2018)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_mib: int = Field(default=4096, ge=64)
    """Memory of the container, swap included."""
    cpus: float = Field(default=2.0, gt=0)
    """CPUs of the container; fewer where the engine has fewer."""
    pids: int = Field(default=512, ge=8)
    """Processes and threads of the container."""
    ready_s: float = Field(default=60.0, gt=0)
    """From the start of the container until /readyz answers 200."""
    request_s: float = Field(default=60.0, gt=0)
    """The longest that one answer may take; 60 is the contest's image a minute."""
    repeats: int = Field(default=100, ge=2)
    """How often the same photo is asked for alone; all answers must be one."""
    max_abstain: float = Field(default=0.2, ge=0, le=1)
    """Largest share of the clean photos that may be answered `abstain`."""
    min_accuracy: float = Field(default=0.9, ge=0, le=1)
    """Least share of the other photos that is answered right. The contest asked for 1.0 on photos that humans had
    agreed on; photos at hand may carry a wrong name."""
    min_images_per_s: float = Field(default=1 / 60, ge=0)
    """Least rate by /predict/batch: one image a minute in the contest, 100 a second in the warm-up."""
    measure_s: float = Field(default=5.0, gt=0)
    """How long the rate is measured."""
    stop_s: float = Field(default=5.0, gt=0)
    """From SIGTERM to the end, with the answers that were under way given."""


NAMED: Final = {"contest": Rules(), "warm-up": Rules(min_images_per_s=100)}


def read_rules(name_or_file: str) -> Rules:
    """`contest`, `warm-up` or a TOML file with fields of Rules. Raises ConfigError naming the field."""
    if name_or_file in NAMED:
        return NAMED[name_or_file]
    try:
        return from_table(Rules, read_toml(Path(name_or_file)), name_or_file)
    except OSError as error:
        raise ConfigError(f"{name_or_file}: {error.strerror}; rules are {', '.join(NAMED)} or a TOML file") from error
