"""The commands `trades-bob serve` and `trades-bob make-key`."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer


def serve(
    bundle: Annotated[Path | None, typer.Option(help="The bundle to serve; without it the released weights.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (TRADES_BOB_HOST, 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (TRADES_BOB_PORT, 8000).")] = None,
) -> None:
    """Serve a bundle over HTTP: labels only. Settings beside the flags are TRADES_BOB_* variables (docs/service.md)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # the first process of a container does not hear of it else

    from server.run import run
    from server.settings import read_settings

    run(read_settings(bundle=bundle, host=host, port=port))


def make_key(name: Annotated[str, typer.Argument(help="Who gets the key: one word.")]) -> None:
    """Make an API key: the key on stdout, to be given away, and on stderr the line for TRADES_BOB_API_KEYS_FILE."""
    from server import limits

    key, line = limits.make_key(name)
    typer.echo(line, err=True)
    typer.echo(key)
