"""The rooms of integrations/: the contracts hold, fail when broken, and a room is entered through its door."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from local import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
ORDER, APART, PROTECTED, INDEPENDENT = [contract["name"] for contract in CONTRACTS]
# Of the folders in integrations/, those that Django looks for by their names.
OF_DJANGO = {"management", "migrations", "templatetags"}
# HTTP unpacks bodies and keeps deadlines, and shares with SMTP what a client is.
OPEN_TO_PROVIDERS = {"client", "consent", "http", "packing", "smtp", "text", "watchdog"}
MOST_ROOMS = 20
MOST_OFFERED = 14
LONGEST_FUNCTION = 40
# Rooms of the journey say in their package what they offer. The others are imported by module.
JOURNEY = (
    "companies", "connections", "delivery", "flow", "installation", "intake", "mapping", "operations", "outcomes",
    "routing", "sign_in", "subscriptions", "walls",
)  # fmt: skip


# --- The contracts ---------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The packages and their configuration, to be spoilt."""
    for package in ("integrations", "portal"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> tuple[int, str]:
    """(exit code, what it said on one line)."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_every_contract_is_kept(copied: Path) -> None:
    code, said = lint_imports(copied)
    assert code == 0, said
    assert [f"{contract['name']} KEPT" in said for contract in CONTRACTS] == [True] * 4


@pytest.mark.parametrize(
    ("contract", "module", "offence"),
    [
        (ORDER, "mapping/conditions.py", "import integrations.routing"),
        (APART, "sources/khoros/values.py", "import integrations.infra.redis"),
        (PROTECTED, "delivery/deliver.py", "import integrations.destinations.zendesk"),
        (INDEPENDENT, "sources/khoros/values.py", "import integrations.destinations.zendesk"),
    ],
)
def test_an_import_against_a_contract_is_told_by_its_name(
    copied: Path, contract: str, module: str, offence: str
) -> None:
    with (copied / "integrations" / module).open("a") as file:
        file.write(f"\n{offence}\n")
    code, said = lint_imports(copied)
    assert code == 1
    assert f"{contract} BROKEN" in said


def test_each_part_of_infra_is_open_or_closed_to_sources_and_destinations() -> None:
    """One that is added has to be put on either list: a contract alone would let it in unseen."""
    (closed,) = [contract["forbidden_modules"] for contract in CONTRACTS if contract["name"] == APART]
    there = {path.stem for path in (ROOT / "integrations" / "infra").iterdir() if not path.name.startswith("__")}
    assert {f"integrations.infra.{name}" for name in there - OPEN_TO_PROVIDERS} | {"portal"} == set(closed)
    assert there > OPEN_TO_PROVIDERS


def test_no_two_modules_need_one_another() -> None:
    """Within a room either, which no contract looks at."""
    graph = grimp.build_graph("integrations")
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()


# --- The rooms -------------------------------------------------------------------------------------------------------


def test_there_are_few_enough_rooms_to_know_them_all() -> None:
    packages = {path.parent.name for path in (ROOT / "integrations").glob("*/__init__.py")}
    assert len(packages - OF_DJANGO) <= MOST_ROOMS
    assert set(JOURNEY) <= packages


def offered(room: str) -> set[str]:
    """What the room's package lists in __all__."""
    tree = ast.parse((ROOT / "integrations" / room / "__init__.py").read_text())
    lists = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    ]
    return {name for found in lists for name in ast.literal_eval(found)}


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each import of ours as (package or module, name): ("integrations.delivery", "deliver_due")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, name.name) for name in node.names)


def through_the_wall(room: str, path: Path) -> list[str]:
    """The imports in a file that reach for something inside a room."""
    door, offers = f"integrations.{room}", offered(room)
    found = []
    for module, name in imported(ast.parse(path.read_text())):
        is_inside = module.startswith(f"{door}.")
        if is_inside or (module == door and name and name not in offers):
            found.append(f"{path.relative_to(ROOT)}: {module} {name}".strip())
    return found


@pytest.mark.parametrize("room", JOURNEY)
def test_a_room_of_the_journey_is_entered_through_its_package(room: str) -> None:
    files = [path for package in ("integrations", "portal") for path in (ROOT / package).rglob("*.py")]
    outside = [path for path in files if ROOT / "integrations" / room not in path.parents]
    assert [offence for path in outside for offence in through_the_wall(room, path)] == []


@pytest.mark.parametrize("room", JOURNEY)
def test_a_room_offers_few_names(room: str) -> None:
    assert len(offered(room)) <= MOST_OFFERED


def test_no_function_of_the_product_is_long() -> None:
    paths = [path for package in ("integrations", "portal") for path in (ROOT / package).rglob("*.py")]
    functions = [
        (path.relative_to(ROOT), node)
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 1000
    assert [
        f"{path}: {node.name}" for path, node in functions if (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ] == []


@pytest.mark.parametrize("room", JOURNEY)
def test_a_room_offers_what_it_has(room: str) -> None:
    tree = ast.parse((ROOT / "integrations" / room / "__init__.py").read_text())
    there = {name for _, name in imported(tree)} | {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert offered(room) <= there
    assert ast.get_docstring(tree)
