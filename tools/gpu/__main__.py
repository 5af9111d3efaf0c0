"""`python -m tools.gpu`: what to do on a GPU machine borrowed for half an hour, without a network. See README.md."""

import argparse
import sys
from pathlib import Path

from tools.gpu import pieces


def main() -> None:
    """Exit 0: done; 2: the user's mistake or a broken file, one line on stderr."""
    options = _parser().parse_args()
    try:
        options.function(options)
    except (ValueError, OSError) as error:
        print(f"tools.gpu: {error}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    stage = commands.add_parser("stage", help="at home: pack photos, fetch wheels, and weigh what travels")
    stage.add_argument("--photos", type=Path, required=True, help="folder with train/, val/ and shifted/")
    stage.add_argument("--out", type=Path, default=Path("runs/carried"))
    stage.add_argument("--side", type=int, default=176, help="pixels of the packed squares")
    stage.add_argument("--quality", type=int, default=60, help="of WebP")
    stage.add_argument("--python", default="3.12", help="version on the GPU machine")
    stage.set_defaults(function=_stage)

    cut = commands.add_parser("cut", help="a file as pieces of 15 MiB with hashes")
    cut.add_argument("file", type=Path)
    cut.add_argument("--out", type=Path, required=True)
    cut.set_defaults(function=lambda options: _print(pieces.cut(options.file, options.out)))

    join = commands.add_parser("join", help="the pieces beside NAME.json as one file again, verified")
    join.add_argument("index", type=Path, metavar="NAME.json")
    join.add_argument("--out", type=Path, required=True)
    join.set_defaults(function=lambda options: _print([pieces.join(options.index, options.out)]))

    return parser


def _stage(options: argparse.Namespace) -> None:
    from tools.gpu.stage import LIMIT_BYTES, stage

    for name, size in stage(options.photos, options.out, options.side, options.quality, options.python).items():
        print(f"{name:<12} {size / 2**20:7.2f} MiB")
    print(f"{'limit':<12} {LIMIT_BYTES / 2**20:7.2f} MiB")


def _print(paths: list[Path]) -> None:
    for path in paths:
        print(path)


if __name__ == "__main__":
    main()
