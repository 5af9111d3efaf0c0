"""The commands `trades-bob data ...`: make, fetch and check folders of pictures."""

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(help="Folders of pictures: bicycle/ and bird/.", rich_markup_mode=None)


@data_app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@data_app.command()
def synthesize(
    out: Annotated[Path, typer.Option(help="Folder to write bicycle/ and bird/ into; new or empty.")],
    per_class: Annotated[int, typer.Option(help="Pictures of each class.")],
    size: Annotated[int, typer.Option(help="Side of the square pictures in pixels, 32 to 1024.")] = 224,
    seed: Annotated[int, typer.Option(help="Same seed, same pictures.")] = 0,
) -> None:
    """Draw birds and bicycles."""
    from train.synthetic import synthesize as draw  # numpy and Pillow only when they are needed

    draw(out, per_class, size, seed)
    print(out)
