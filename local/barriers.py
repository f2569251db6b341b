"""What keeps people from using a page, as axe (https://github.com/dequelabs/axe-core) finds it."""

from importlib import resources

from playwright.sync_api import Page

GRAVE = ("serious", "critical")
LONGEST_ELEMENT = 200


def barriers(page: Page) -> list[str]:
    """What is serious or critical on the page as it is now, each with the element."""
    page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {' '.join(node['html'].split())[:LONGEST_ELEMENT]}"
        for violation in found["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]
