"""The command `evaluate`. Heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from attack.commands import ENDPOINT_HELP, SURROGATE_HELP
from model.errors import ConfigError, UserError

ACCURACIES = ("accuracy_at_80", "accuracy_at_100")


def evaluate(
    *,
    images: Annotated[Path | None, typer.Option(help="folder with bicycle/ and bird/")] = None,
    out: Annotated[Path, typer.Option(help="folder for report.json and index.html")],
    bundle: Annotated[Path | None, typer.Option(help="a bundle, evaluated in this process")] = None,
    endpoint: Annotated[str | None, typer.Option(help=ENDPOINT_HELP)] = None,
    callable: Annotated[str | None, typer.Option(help="MODULE:FUNCTION with the kit's signature")] = None,
    attacks: Annotated[str | None, typer.Option(help="rows, NAME or NAME:PHOTOS, with commas")] = None,
    profile: Annotated[str | None, typer.Option(help="full (the protocol) | short (an hour on a CPU)")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many photos, balanced over the classes")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="seed of all chance")] = None,
    size: Annotated[int | None, typer.Option(min=32, max=1024, help="side in pixels; without it, the model's")] = None,
    device: Annotated[str | None, typer.Option(help="auto | cpu | cuda")] = None,
    surrogate: Annotated[list[Path] | None, typer.Option(help=SURROGATE_HELP)] = None,
    repeat: Annotated[Path | None, typer.Option("--from", help="repeat the run of this report.json")] = None,
    beside: Annotated[Path | None, typer.Option(help="folder of an earlier evaluation, shown beside this one")] = None,
    json: Annotated[Path | None, typer.Option(help="write the report to this file too")] = None,
) -> None:
    """Run the challenge's warm-up, and stronger attacks, against a bundle, an endpoint or a Python function."""
    from attack.evaluation.page import read_report
    from attack.evaluation.report import changed_inputs, same_table
    from attack.evaluation.run import evaluate as run
    from model.files import refuse_unwritable, write_json

    earlier = None if repeat is None else read_report(repeat)
    given: dict[str, Any] = {
        "images": None if images is None else str(images),
        "attacks": None if attacks is None else tuple(name.strip() for name in attacks.split(",")),
        "profile": profile,
        "limit": limit,
        "seed": seed,
        "size": size,
        "device": device,
        "surrogates": tuple(map(str, surrogate)) if surrogate else None,
        **_subject(bundle, endpoint, callable),
    }
    settings = _settings(earlier, {name: value for name, value in given.items() if value is not None})
    refuse_unwritable(json)
    report = run(settings, out, beside)
    if json is not None:
        write_json(json, report)
    _print_table(report)
    if earlier is not None:
        for name in changed_inputs(earlier, report):
            print(f"the {name} are not those of the earlier report")
        different = same_table(earlier, report)
        print(
            "equal to the earlier table" if not different else f"differs from the earlier table: {', '.join(different)}"
        )
    print(out / "index.html")


def _subject(bundle: Path | None, endpoint: str | None, callable_name: str | None) -> dict[str, str]:
    named = {"bundle": bundle, "endpoint": endpoint, "callable": callable_name}
    given = {kind: str(value) for kind, value in named.items() if value is not None}
    if len(given) > 1:
        raise ConfigError(f"give one of --bundle, --endpoint and --callable, not {' and '.join(given)}")
    return next(({"kind": kind, "reference": reference} for kind, reference in given.items()), {})


def _settings(earlier: dict[str, Any] | None, given: dict[str, Any]) -> Any:
    """Options given now, over those of an earlier report, over the defaults."""
    from pydantic import ValidationError

    from attack.evaluation.report import EvaluationSettings

    inherited = dict(earlier["settings"]) if earlier else {}
    if given.get("kind") == "endpoint":
        inherited.pop("size", None)  # another subject's; an endpoint has its own
    fields = {**inherited, **given}
    if "reference" not in fields:
        raise ConfigError("what is to be evaluated? Give --bundle DIR, --endpoint URL or --callable MODULE:FUNCTION")
    if "images" not in fields:
        raise ConfigError("which photos? Give --images DIR, a folder with bicycle/ and bird/")
    try:
        return EvaluationSettings.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _print_table(report: dict[str, Any]) -> None:
    print(f"{'attack':<20} {'photos':>6} {'acc @ 80 %':>11} {'acc @ 100 %':>12} {'errors':>12} {'seconds':>8}")
    for row in report["attacks"]:
        errors = f"{row['errors_at_80']}/{row['covered_at_80']}"
        at_80, at_100 = ("-" if row[key] is None else f"{100 * row[key]:.1f}" for key in ACCURACIES)
        print(f"{row['name']:<20} {row['n']:>6} {at_80:>11} {at_100:>12} {errors:>12} {row['seconds']:>8.1f}")
    for row in report["left_out"]:
        print(f"{row['name']:<20} left out: {row['reason']}")
