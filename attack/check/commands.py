"""The command `check`. Heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated

import typer


def check(
    subject: Annotated[
        str, typer.Argument(metavar="IMAGE_OR_URL", help="an image of the engine at hand, or http://...")
    ],
    images: Annotated[Path | None, typer.Option(help="clean photos: a folder with bicycle/ and bird/")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="so many of the photos, balanced over the classes")] = None,
    rules: Annotated[str, typer.Option(help="contest | warm-up | a TOML file")] = "contest",
    gpus: Annotated[bool, typer.Option("--gpus", help="give the container all GPUs")] = False,
    json: Annotated[Path | None, typer.Option(help="write the report to this file")] = None,
) -> None:
    """Is this container, or this endpoint, a fit submission? Exit 0: yes; 1: no."""
    from attack.check.findings import Finding
    from attack.check.rules import read_rules
    from attack.check.run import check_image, check_url
    from model.files import refuse_unwritable, write_json
    from model.text import printable

    def tell(finding: Finding) -> None:
        print(printable(finding.line()), flush=True)

    limits = read_rules(rules)
    refuse_unwritable(json)
    if "://" in subject:
        report = check_url(subject, limits, images, limit, tell)
    else:
        report = check_image(subject, limits, images, limit, tell, gpus)
    print(report.verdict())
    if json is not None:
        write_json(json, report.as_json())
    if not report.fit:
        raise typer.Exit(1)
