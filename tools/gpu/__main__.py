"""`python -m tools.gpu`: what to do on a GPU machine that is lent for 15 minutes, without a network. See README.md."""

import argparse
import os
import sys
from pathlib import Path

from tools.gpu import pieces
from tools.gpu.plan import QUALITY, SIDE, TRAIN_MINUTES


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
    stage.add_argument("--side", type=int, default=SIDE, help="pixels of the packed squares")
    stage.add_argument("--quality", type=int, default=QUALITY, help="of WebP")
    stage.add_argument("--limit", type=int, help="photos of each split, for a rehearsal")
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

    run = commands.add_parser("run", help="on the GPU machine: the next steps, as far as the minutes go")
    run.add_argument("--carried", type=Path, default=Path("runs/carried"), help="what `stage` made")
    run.add_argument("--state", type=Path, default=Path("runs/gpu"), help="stays on the machine between calls")
    run.add_argument("--out", type=Path, required=True, help="what is to be brought home: at most 8 files, 62 MiB")
    what = run.add_mutually_exclusive_group()
    what.add_argument("--call", type=int, choices=(1, 2, 3), help="steps and minutes of this call of a loan")
    what.add_argument("--steps", help="these alone, separated by commas; failed ones again")
    run.add_argument("--minutes", type=float, default=9.0)
    run.add_argument("--train-minutes", type=float, default=TRAIN_MINUTES, help="of training in all, over all calls")
    run.add_argument("--step-seconds", type=float, default=0.0, help="of a TRADES step, where known: not measured")
    run.add_argument("--device", default="cuda")
    run.add_argument("--rehearse", action="store_true", help="tiny sizes, on the CPU")
    run.set_defaults(function=_run)

    step = commands.add_parser("step", help="one step, as `run` starts it")
    step.add_argument("name")
    step.add_argument("--state", type=Path, required=True)
    step.add_argument("--seconds", type=float, default=600.0)
    step.set_defaults(function=_step)

    home = commands.add_parser("home", help="at home: verify and join what came, JSON files into benchmarks/results")
    home.add_argument("came", type=Path)
    home.add_argument("--out", type=Path, default=Path("runs/came"))
    home.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    home.set_defaults(function=_home)
    return parser


def _run(options: argparse.Namespace) -> None:
    from tools.gpu.plan import Plan
    from tools.gpu.run import CALLS, run

    device = "cpu" if options.rehearse else options.device
    minutes, known_s = options.train_minutes, options.step_seconds
    if known_s < 0:
        raise ValueError(f"--step-seconds {known_s:g}: below 0; leave it out, and a step is measured")
    plan = Plan(options.carried, options.state, options.out, device, options.rehearse, minutes, known_s)
    if options.call:
        call = CALLS[options.call - 1]
        run(plan, call.minutes, call.steps)
    else:
        run(plan, options.minutes, options.steps.split(",") if options.steps else None, again=bool(options.steps))


def _step(options: argparse.Namespace) -> None:
    from tools.gpu.plan import read_plan
    from tools.gpu.run import end_with
    from tools.gpu.steps import NAMES

    end_with(os.getppid())
    print(f"= {NAMES[options.name](read_plan(options.state), options.seconds)}", flush=True)


def _home(options: argparse.Namespace) -> None:
    from tools.gpu.run import home

    _print(home(options.came, options.out, options.results))


def _stage(options: argparse.Namespace) -> None:
    from tools.gpu.stage import LIMIT_BYTES, stage

    sizes = stage(options.photos, options.out, options.side, options.quality, options.limit, options.python)
    for name, size in sizes.items():
        print(f"{name:<12} {size / 2**20:7.2f} MiB")
    print(f"{'limit':<12} {LIMIT_BYTES / 2**20:7.2f} MiB")


def _print(paths: list[Path]) -> None:
    for path in paths:
        print(path)


if __name__ == "__main__":
    main()
