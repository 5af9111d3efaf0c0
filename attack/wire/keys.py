"""The caller's API key, from the environment, so that no command line or report shows it."""

import os
from typing import Final

from model.errors import ConfigError

API_KEY_VARIABLE: Final = "TRADES_BOB_API_KEY"


def key_headers() -> dict[str, str]:
    """What a request says of who asks: nothing where the variable is not set or empty.

    Raises ConfigError for what cannot be a header.
    """
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{API_KEY_VARIABLE}: a key is printable ASCII in one line")
    return {"Authorization": f"Bearer {key}"}
