"""The label sets of the simulated company, as the two APIs that list labels show them.

The names are awkward on purpose: some mean something else as a regular expression, and some are archived.
"""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sandbox.inbox import LABELS
from sandbox.subscriptions import COMPANY_ID, USER_ID

MADE_AT = 1616018436858
INITIATIVE_ID = 5
FIRST_LEGACY_ID = 687375
PRIORITY = ("VIP", "VIP (urgent)")
ARCHIVED = ("Christmas 2019", "Old hotline")

# Name, description and labels of each set.
SETS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Social care", "Labels of the social care team.", (*LABELS, "VIP (urgent)", "Old hotline")),
    (
        "General Labels",
        "These are labels used for general posts.",
        ("Ideas", "Ideas & wishes", "Innovations", "Inspirations", "Christmas 2019", "C++", "Q&A [internal]?", "100 %"),
    ),
    ("Products", "One label for every product.", tuple(f"Product {number:03d}" for number in range(1, 121))),
    ("Länder", "Labels of the teams abroad.", ("Österreich", "Rückfrage", "Größe & Maße", "Île-de-France", "日本")),
)


def label_sets() -> list[dict[str, Any]]:
    """Every set with its labels, archived ones included."""
    return [_label_set(number, *each) for number, each in enumerate(SETS)]


def content_labels(words: str = "", priority: bool | None = None) -> list[dict[str, Any]]:
    """The active labels by the names that API users see, filtered by a case-insensitive search."""
    shown: list[dict[str, Any]] = [
        {"title": f"{name} - {label}", "priority": label in PRIORITY}
        for name, _, labels in SETS
        for label in labels
        if label not in ARCHIVED
    ]
    return [
        each for each in shown if words.casefold() in each["title"].casefold() and priority in (None, each["priority"])
    ]


def _label_set(number: int, name: str, description: str, labels: tuple[str, ...]) -> dict[str, Any]:
    set_id = _made_up_id(name)
    first_id = FIRST_LEGACY_ID + 1000 * number
    return {
        **_stamps(),
        "care": True,
        "description": description,
        "id": set_id,
        "labels": [
            {
                **_stamps("INACTIVE" if label in ARCHIVED else "ACTIVE"),
                "color": None,
                "id": _made_up_id(f"{name}/{label}"),
                "labelSetId": set_id,
                "legacyId": legacy_id,
                "name": label,
                "parentLabelIds": [],
            }
            for legacy_id, label in enumerate(labels, first_id)
        ],
        "marketing": True,
        "multiSelect": True,
        "name": name,
        "parentLabelSetId": None,
        "profiles": False,
        "required": False,
    }


def _stamps(status: str = "ACTIVE") -> dict[str, Any]:
    return {
        "createdByDirectoryUserId": USER_ID,
        "createdDate": MADE_AT,
        "directoryCompanyId": COMPANY_ID,
        "initiativeIds": [],
        "lastModifiedByDirectoryUserId": USER_ID,
        "lastModifiedDate": MADE_AT,
        "status": status,
    }


def _made_up_id(name: str) -> str:
    """The same id for the same name in every sandbox."""
    return str(uuid5(NAMESPACE_URL, f"https://labels.example.com/{name}"))
