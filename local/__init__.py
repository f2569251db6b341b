"""Casebridge on one machine: installing, running, testing and measuring it with nothing but Python at hand.

Nothing in here is part of the portal and nothing of it is used in production. `make run` promises a working portal on a
machine without PostgreSQL, Redis or Docker, one log to read, and no process left behind when it ends, however it ends.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
