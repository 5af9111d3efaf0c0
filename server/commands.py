"""The command `trades-bob serve`."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    bundle: Annotated[Path | None, typer.Option(help="The bundle to serve; without it the released weights.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (TRADES_BOB_HOST, 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (TRADES_BOB_PORT, 8000).")] = None,
) -> None:
    """Serve a bundle over HTTP: labels only. Settings beside the flags are TRADES_BOB_* variables (docs/service.md)."""
    from server.run import run
    from server.settings import read_settings

    run(read_settings(bundle=bundle, host=host, port=port))
