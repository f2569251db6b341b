"""Ports on the loopback address: the ones people choose, and free ones for the services behind the portal."""

import errno
import socket
import time
from collections.abc import Callable

from local.errors import Refusal

LOOPBACK = "127.0.0.1"


def free_port(avoid: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in avoid:
            return port


def wait_for_port(variable: str, port: int, seconds: float, pause: Callable[[float], None]) -> None:
    """Make sure the port can be had. It is worth waiting for only while those who hold it are ending."""
    deadline = time.monotonic() + seconds
    while problem := _problem(port):
        if problem != errno.EADDRINUSE:
            raise Refusal(f"Port {port} is not open to this user: {_other(variable, port)}")
        if time.monotonic() > deadline:
            raise Refusal(f"Port {port} is taken: {_other(variable, port)}")
        pause(0.2)


def is_listening(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def _problem(port: int) -> int:
    with socket.socket() as probe:
        # Connections that ended a moment ago do not keep a server from starting.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            return error.errno or errno.EADDRINUSE
    return 0


def _other(variable: str, port: int) -> str:
    suggestion = 9000 if variable == "PORT" else 9001
    if suggestion == port:
        suggestion += 100
    return f"choose another with make run {variable}={suggestion}."
