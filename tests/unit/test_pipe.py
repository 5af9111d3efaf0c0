"""Messages over a socket: whole, however they arrive."""

import socket

import pytest

from server.pipe import LENGTH, Pipe

pytestmark = pytest.mark.unit


def test_messages_come_whole() -> None:
    ours, theirs = socket.socketpair()
    one, other = Pipe(ours), Pipe(theirs)
    for message in (b"", b"x", bytes(range(256)) * 700):
        one.send(message)
        assert other.receive() == message
    one.close()
    with pytest.raises(EOFError):
        other.receive()
    other.close()


def test_a_part_is_no_message_yet() -> None:
    ours, theirs = socket.socketpair()
    pipe = Pipe(theirs)
    sent = LENGTH.pack(3) + b"abc"
    for number in range(len(sent) - 1):
        ours.sendall(sent[number : number + 1])
        assert pipe.receive_some() is None
    ours.sendall(sent[-1:])
    assert pipe.receive_some() == b"abc"
    ours.close()
    pipe.close()
