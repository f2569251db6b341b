"""`python -m local run|test|lint|bench`, as the Makefile calls it; `services` is for local.pytest_services."""

import sys

from local.errors import Refusal
from local.output import complain
from local.run import PYTHON, run
from local.test import INTERRUPTED, lend_services, lint, run_on_workbench, test


def main(arguments: list[str]) -> int:
    match arguments:
        case ["run"]:
            return run()
        case ["test", *rest]:
            return test(rest)
        case ["lint"]:
            return lint()
        case ["services", asker]:
            return lend_services(int(asker))
        case ["bench", *rest]:
            return run_on_workbench("bench", [PYTHON, "-m", "bench", *rest])
        case _:
            complain("Say one of: run, test, lint, bench.")
            return 2


def guarded_main(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except Refusal as refusal:
        complain(str(refusal))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        # A full disk, another user's folder: clearer in the system's words than as a traceback.
        complain(f"Casebridge could not go on: {error}.")
        return 1


if __name__ == "__main__":
    sys.exit(guarded_main(sys.argv[1:]))
