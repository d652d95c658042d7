"""The bundles that all tests of the service share."""

from pathlib import Path

import pytest

from tests.services import save_all


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    save_all(root)
    return root
