"""The HEALTHCHECK of the image: ready or not, with the reason in one line. Standard library alone: it costs little."""

import os
import sys
import urllib.error
import urllib.request

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Passes by the proxy that the environment of a container may name: what is asked is the container itself."""


def reason() -> str | None:
    """Why the service is not ready, or None."""
    url = f"http://127.0.0.1:{os.environ.get('TRADES_BOB_PORT') or '8000'}/readyz"
    try:
        with _direct.open(url, timeout=2):
            return None
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(reason())
