"""The pytest plugin that makes plain `pytest` work in a checkout: it starts PostgreSQL and Redis for the run.

Loaded by `-p` in pyproject.toml, so that it comes before Django's settings are read. Where DATABASE_URL and REDIS_URL
are set (by `make test`, or in the processes of a parallel run, which inherit them), it does nothing. The services
belong to a process of their own, which ends them with the run, however that ends.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator

import pytest

from local import ROOT

ADDRESSES = ("DATABASE_URL", "REDIS_URL")
STOP_SECONDS = 60


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """A wrapper goes before all plain hooks, of which Django's plugin takes the first place."""
    options = early_config.known_args_namespace
    if not (options.help or options.version or all(os.environ.get(name) for name in ADDRESSES)):
        borrow_services(early_config)
    return (yield)


def borrow_services(config: pytest.Config) -> None:
    """Starts the services and puts their environment in the place of ours, until the run is over."""
    lender = subprocess.Popen(
        [sys.executable, "-m", "local", "services", str(os.getpid())],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # Ctrl-C is for pytest, which still needs the database to end in order.
        start_new_session=True,
    )
    config.add_cleanup(lambda: give_back(lender))
    environment = lender.stdout.readline() if lender.stdout else b""
    if not environment:
        raise pytest.UsageError("The database and Redis for the tests could not be started; the reason is above.")
    os.environ.clear()
    os.environ.update(json.loads(environment))


def give_back(lender: subprocess.Popen[bytes]) -> None:
    lender.terminate()
    lender.wait(STOP_SECONDS)
    if lender.stdout:
        lender.stdout.close()
