"""Where a container answers, and when."""

import time

import httpx
import pytest


def url_of(container):
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"].values()
    return "http://{}:8000".format(next(network["IPAddress"] for network in networks))


def wait_until_ready(container, within_s=90):
    """Until /readyz answers 200; what it logged is the message when it does not."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        container.reload()
        assert container.status in ("created", "running"), container.logs().decode()[-2000:]
        try:
            if httpx.get(f"{url_of(container)}/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    pytest.fail(f"not ready within {within_s} s: {container.logs().decode()[-2000:]}")
