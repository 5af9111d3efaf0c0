"""Whole messages over a socket between the server and its worker, one system call each way for a small one."""

import socket
import struct
from typing import Final

LENGTH: Final = struct.Struct("<I")
READ_BYTES: Final = 2**16


class Pipe:
    """One end. The two sides take turns, so that never more than one message is on its way."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._received = bytearray()

    def fileno(self) -> int:
        """The descriptor, for the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, message: bytes) -> None:
        """Send a message. Raises OSError when nobody reads any more."""
        self._socket.sendall(LENGTH.pack(len(message)) + message)

    def receive(self) -> bytes:
        """Wait for a message. Raises EOFError when the other side hung up."""
        while (message := self.receive_some()) is None:
            pass
        return message

    def receive_some(self) -> bytes | None:
        """Read once: the message if it is whole by now. Raises EOFError when the other side hung up."""
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise EOFError
        self._received += data
        if len(self._received) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
        if len(self._received) < end:
            return None
        message = bytes(self._received[LENGTH.size : end])
        del self._received[:end]
        return message
