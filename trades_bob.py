"""The command `trades-bob`: joins the commands of the packages and turns errors into one line and an exit code."""

import codecs
import errno
import sys
from io import TextIOWrapper

import typer

from attack.check.commands import check
from attack.commands import attack, predict
from attack.evaluation.commands import evaluate
from model.console import write_line
from model.errors import TradesBobError
from server.commands import make_key, serve
from train.commands import demo, release, train
from train.data_commands import data_app

# Newer typers carry a click of their own, older ones import click's: ask typer for its base of all usage errors.
_CLICK_EXCEPTION: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)

INTERRUPTED = 130
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Of a write, which does not say to what: to stdout, above all."""

app = typer.Typer(
    help="A robust bird-or-bicycle classifier, its label-only service, and the attacks on it.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(predict)
app.command()(attack)
app.command()(evaluate)
app.command()(check)
app.command()(train)
app.command()(release)
app.command()(serve)
app.command()(make_key)
app.command()(demo)
app.add_typer(data_app, name="data")


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line. Exit 0: done; 2: the user's mistake, one line on stderr; 1: anything else.

    What a file or folder is refused with, wherever it is met, is a line too.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        codecs.register_error("paths", _as_it_can)
        sys.stdout.reconfigure(errors="paths")
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # newer typers answer an interrupt with the code alone
            raise KeyboardInterrupt
        sys.exit(code)
    except _CLICK_EXCEPTION as error:
        _fail(error.format_message(), 2)  # type: ignore[attr-defined]
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted", INTERRUPTED)
    except TradesBobError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.filename is None and error.errno not in DISK_ERRORS:
            raise
        code = 2 if error.errno == errno.ENAMETOOLONG else 1  # names are the user's
        _fail(f"{error.filename or 'writing'}: {error.strerror}", code)


def _as_it_can(error: UnicodeError) -> tuple[str | bytes, int]:
    """A path on stdout: its bytes where they are not UTF-8, the escape (`\\u03a9`) of what the encoding lacks."""
    if isinstance(error, UnicodeEncodeError):
        error.end = error.start + 1
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


def _fail(message: str, code: int) -> None:
    write_line("trades-bob: " + " ".join(message.split()))
    sys.exit(code)


if __name__ == "__main__":
    main()
