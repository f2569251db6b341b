"""What leaves a checkout: neither a commit nor an image holds the file with the secrets."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WITH_SECRETS = [".env", ".env.production", ".env.local"]
ENTRIES = {".env", ".env.*", "!.env.example"}


@pytest.mark.parametrize("name", [".dockerignore", ".gitignore"])
def test_the_file_with_the_secrets_is_left_out_and_an_example_is_not(name: str) -> None:
    entries = (ROOT / name).read_text().split()
    assert set(entries) >= ENTRIES
    assert entries.index("!.env.example") > entries.index(".env.*")


@pytest.mark.parametrize("name", WITH_SECRETS)
def test_git_ignores_the_file_with_the_secrets(name: str) -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git")
    assert _is_ignored(name)
    assert not _is_ignored(".env.example")


def _is_ignored(name: str) -> bool:
    asked = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", name], cwd=ROOT, check=False)
    return asked.returncode == 0


def test_compose_hands_the_secrets_over_by_name_and_not_by_a_file_in_the_image() -> None:
    """Compose reads .env on the host, so leaving it out of the image takes nothing away."""
    compose = (ROOT / "compose.yaml").read_text()
    assert "SECRET_KEY: ${SECRET_KEY:?" in compose
    assert ".env:" not in compose
