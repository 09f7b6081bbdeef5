"""A state folder that commands work on."""

from pathlib import Path

import pytest

from freehold.settings import Settings
from tests.commanding import folder, owner, second


@pytest.fixture
def state(tmp_path: Path, migrated: Path) -> Settings:
    """A folder with two workspaces and one owner in the first."""
    return folder(tmp_path, migrated, second, owner)
