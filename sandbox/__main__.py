"""Starts the sandbox: `python -m sandbox --port 8001 --data FOLDER`. Ends cleanly on SIGTERM and SIGINT."""

import argparse
import ipaddress
import signal
import sqlite3
import sys
import threading
from pathlib import Path

from sandbox.server import running_sandbox


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="A stand-in for Khoros, Zendesk, Slack and a mail server."
    )
    parser.add_argument("--port", type=int, default=8001, help="0 takes a free port (default: %(default)s)")
    parser.add_argument("--mail-port", type=int, default=0, help="of the mail server; 0 takes a free port")
    parser.add_argument("--data", type=Path, required=True, help="folder for the sandbox's memory; made when missing")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if not is_loopback(given.host):
        print(f"{given.host} is not a loopback address. The sandbox serves this computer only.", file=sys.stderr)
        return 2
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        with running_sandbox(given.data, host=given.host, port=given.port, mail_port=given.mail_port) as sandbox:
            print(f"The sandbox is ready at {sandbox.url}", flush=True)
            ending.wait()
    except (OSError, OverflowError, sqlite3.Error) as problem:
        print(f"The sandbox cannot run at {given.host}:{given.port} with {given.data}: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
