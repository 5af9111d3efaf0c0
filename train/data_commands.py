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


@data_app.command()
def download(
    out: Annotated[Path, typer.Option(help="Folder for test/, train/ and extras/; started again, it goes on.")],
    split: Annotated[
        list[str] | None, typer.Option(help="test, train or extras; repeatable; all of them without.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write what was verified here.")] = None,
) -> None:
    """Download the official bird-or-bicycle photos and verify them."""
    from model.files import refuse_unwritable
    from train.official import SPLITS
    from train.official.download import GONE
    from train.official.download import download as bring
    from train.official.settings import read_settings

    refuse_unwritable(json_file)
    manifest = bring(out, split or SPLITS, read_settings())
    _verify(out, json_file)
    if any(reason != GONE for reason in manifest.missing.values()):
        raise typer.Exit(1)


@data_app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Splits, or one folder with bicycle/ and bird/.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the findings here.")] = None,
) -> None:
    """Are these photos fit to train and to measure on? Exit 0: yes; 1: no."""
    _verify(folder, json_file)


def _verify(folder: Path, json_file: Path | None) -> None:
    from model.files import refuse_unwritable, write_json
    from model.text import printable
    from train.verify import verify as look

    refuse_unwritable(json_file)
    found = look(folder)
    for line in found.lines():
        print(printable(line))
    if json_file is not None:
        write_json(json_file, found.as_json())
    if not found.fit:
        raise typer.Exit(1)
