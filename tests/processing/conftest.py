from collections.abc import Iterator

import pytest

from tests.processing.teachers import Teachers, serving


@pytest.fixture
def teachers() -> Iterator[Teachers]:
    with serving() as found:
        yield found
