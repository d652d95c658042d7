"""What the tests of runs share: most of them do without pictures; those that look at them are marked `pictures`."""

import pytest


@pytest.fixture(autouse=True)
def _without_pictures(request: pytest.FixtureRequest) -> None:
    if not request.node.get_closest_marker("pictures"):
        request.getfixturevalue("quick_runs")
