"""The command `trades-bob`: joins the commands of the packages and turns errors into one line and an exit code."""

import sys

import click
import typer

from model.errors import TradesBobError

app = typer.Typer(
    help="A robust bird-or-bicycle classifier, its label-only service, and the attacks on it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root() -> None:
    """Without a callback, typer would drop the command's name when there is only one."""


def main() -> None:
    """Run the command line. Exit 0: done; 2: the user's mistake, one line on stderr; 1: anything else."""
    try:
        sys.exit(app(standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except TradesBobError as error:
        _fail(str(error), error.exit_code)


def _fail(message: str, code: int) -> None:
    print("trades-bob: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
