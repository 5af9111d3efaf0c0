"""The commands `attack` and `predict`. Heavy imports wait until a command runs."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from model.console import write_line
from model.errors import ConfigError, ImageError, RefusedError, UnansweredError
from model.text import printable

SURROGATE_HELP = "a bundle of your own, whose gradients guide `auto`; may be given more than once"
ENDPOINT_HELP = "URL of a live endpoint (http://HOST:PORT; API key in TRADES_BOB_API_KEY), or a .toml of another one"


def attack(
    *,
    endpoint: Annotated[str | None, typer.Option(help=ENDPOINT_HELP)] = None,
    bundle: Annotated[Path | None, typer.Option(help="attack a bundle in this process instead")] = None,
    images: Annotated[Path, typer.Option(help="folder with bicycle/ and bird/")],
    out: Annotated[Path, typer.Option(help="folder for results.json, PNGs and index.html")],
    attack: Annotated[str, typer.Option(help="auto, or one by name; a wrong name lists them")] = "auto",
    limit: Annotated[int | None, typer.Option(help="so many photos, balanced over the classes")] = None,
    max_queries: Annotated[int, typer.Option(min=1, help="queries per photo")] = 1000,
    max_l2: Annotated[
        float, typer.Option(min=0, help="largest L2 that counts, on pictures in [0, 1] at the endpoint's size")
    ] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="seed of all chance")] = 0,
    spatial: Annotated[str, typer.Option(help="a spatial map first, as the challenge's kit: random | none")] = "random",
    surrogate: Annotated[list[Path] | None, typer.Option(help=SURROGATE_HELP)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where a run of the same settings ended")] = False,
    json: Annotated[Path | None, typer.Option(help="write the results to this file too")] = None,
) -> None:
    """Attack a live endpoint by its labels alone."""
    # The matrices of an attack are too small to share: more BLAS threads than one cost several times the CPU.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from attack.decision import ATTACKS, WITH_SURROGATE
    from attack.settings import Settings
    from model.files import refuse_unwritable, write_json

    if attack not in ATTACKS:
        raise ConfigError(f"no attack is called {attack!r}; there are {', '.join(ATTACKS)}")
    if not isfinite(max_l2):
        raise ConfigError(f"--max-l2 is {max_l2}; give a number, such as 10 at 224 pixels")
    if spatial not in ("random", "none"):
        raise ConfigError(f"--spatial is {spatial!r}; it is random or none")
    if (endpoint is None) == (bundle is None):
        raise ConfigError("give --endpoint URL or --bundle DIR, one of them")
    if surrogate and attack not in WITH_SURROGATE:
        raise ConfigError(f"--surrogate is of no use to --attack {attack}; it is for {', '.join(WITH_SURROGATE)}")
    refuse_unwritable(json)
    settings = Settings(attack, max_queries, max_l2, seed, cast(Literal["random", "none"], spatial), limit)
    results = _attack(endpoint, bundle, images, settings, out, resume, surrogate or [])
    if json is not None:
        write_json(json, results)
    counts = results["summary"]
    print(f"{counts['adversarial']} adversarial, {counts['robust']} robust of {counts['photos']}; {out / 'index.html'}")


def _attack(
    endpoint: str | None,
    bundle: Path | None,
    images: Path,
    settings: Any,
    out: Path,
    resume: bool,
    surrogates: list[Path],
) -> dict[str, Any]:
    from attack.campaign import Campaign

    guide = None
    if surrogates:
        from attack.surrogate import Surrogate

        surrogate = Surrogate(surrogates)
        guide, settings = surrogate.against, replace(settings, surrogates=surrogate.identities)
    if bundle is not None:
        from attack.local import LocalOracle

        return Campaign(LocalOracle(bundle), images, settings, out, resume, guide).run(str(bundle))
    from attack.oracle import RemoteOracle, open_client

    with open_client(str(endpoint)) as client:
        return Campaign(RemoteOracle(client), images, settings, out, resume, guide).run(client.url)


def predict(
    pictures: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, WebP or BMP files")],
    bundle: Annotated[Path | None, typer.Option(help="a bundle; without it, the released weights")] = None,
    endpoint: Annotated[str | None, typer.Option(help=ENDPOINT_HELP)] = None,
) -> None:
    """Print a line per picture: path, tab, label; a terminal is shown control characters of a path as escapes.

    One that cannot be classified is a line on stderr; the others follow, and the exit code is 2.
    """
    if bundle is not None and endpoint is not None:
        raise ConfigError("give --bundle or --endpoint, not both")
    if endpoint is not None:
        from attack.oracle import open_client

        with open_client(endpoint) as client:
            fit = _print_labels(pictures, client.predict)
    else:
        from attack.local import LocalOracle, release

        fit = _print_labels(pictures, LocalOracle(bundle or release()).label_of_file)
    if not fit:
        raise typer.Exit(2)


def _print_labels(pictures: list[Path], label_of: Callable[[Path], str]) -> bool:
    """Whether each picture has a label."""
    fit = True
    for picture in pictures:
        try:
            _print_label(picture, label_of(picture))
        except UnansweredError:
            raise  # patience with each of the others would take hours
        except (ImageError, RefusedError) as error:
            fit = False
            about = str(error) if str(picture) in str(error) else f"{picture}: {error}"
            write_line(f"trades-bob: {about}")
    return fit


def _print_label(picture: Path, label: str) -> None:
    path = printable(str(picture)) if sys.stdout.isatty() else str(picture)
    print(f"{path}\t{label}", flush=True)
