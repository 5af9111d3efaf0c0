"""What a person sees of names that others gave: neither commands of a terminal nor markup."""

import socket
import subprocess
import sys

import pytest

from model.console import _bar, say
from model.text import printable
from train.validation import Accuracy, Validation
from train.watch import print_table

pytestmark = pytest.mark.unit

HOSTILE = "[/a]\x1b]0;title\x07:bird:"
SHOWN = r"[/a]\x1b]0;title\x07:bird:"


def test_only_what_a_terminal_cannot_show_is_escaped():
    assert printable("Wei\u00dfes Rad \U0001f6b2.jpg") == "Wei\u00dfes Rad \U0001f6b2.jpg"
    assert printable(HOSTILE) == SHOWN
    assert printable("a\nb\u202ec\udcff") == r"a\nb\u202ec\udcff"


def test_lines_bars_and_tables_show_names_as_they_are(capfd):
    say(HOSTILE)
    with _bar(HOSTILE, 1) as report:
        report(1, loss="[/b]")
    part = Accuracy(1.0, 1.0)
    print_table(Validation(part, part, 16, 16), HOSTILE)
    shown = capfd.readouterr()
    assert shown.err.startswith(SHOWN + "\n")
    assert f"{SHOWN} " in shown.err, "the bar"
    assert "[/b]" in shown.err
    assert SHOWN in shown.out
    assert "\x1b" not in shown.out + shown.err


@pytest.mark.parametrize("buffering", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_line_is_one_write_so_that_lines_of_processes_that_share_stderr_never_mix(buffering):
    """As torchrun starts them: `python -u`. A socket that keeps the bounds of writes shows each of them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        lines = [sys.executable, *buffering, "-c", "from model.console import say; say('one'); say('two')"]
        subprocess.run(lines, check=True, stderr=theirs, timeout=60)
        assert [ours.recv(1000), ours.recv(1000)] == [b"one\n", b"two\n"]
