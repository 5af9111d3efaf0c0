"""The HEALTHCHECK of the image, as a program."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
HEALTHCHECK = Path(__file__).parents[2] / "docker" / "healthcheck.py"


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def check(port: int) -> subprocess.CompletedProcess[str]:
    """Run it where the environment names a proxy at which nobody listens."""
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    return subprocess.run(
        [sys.executable, "-I", "-S", HEALTHCHECK],
        env=environment | proxies | {"TRADES_BOB_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_proxy_in_the_environment_is_not_asked() -> None:
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            done = check(server.server_port)
        finally:
            server.shutdown()
    assert (done.returncode, done.stderr) == (0, "")
    gone = check(server.server_port)
    assert gone.returncode == 1
    assert "refused" in gone.stderr
