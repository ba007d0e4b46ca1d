from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.client.errors import SentinelHubError
from tests.bad_inputs import BadInput
from tests.bad_inputs.files import FILES, check, good, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.title)
def test_the_user_is_told(case: BadInput, tmp_path: Path) -> None:
    with pytest.raises(SentinelHubError) as found:
        case.provoke(tmp_path)
    assert str(found.value) == case.message
    assert not list(tmp_path.glob("*.part"))


def test_titles_tell_the_cases_apart() -> None:
    assert len({case.title for case in FILES}) == len(FILES)


def test_messages_tell_the_cases_apart() -> None:
    assert len({case.message for case in FILES}) == len(FILES)


def test_what_they_were_made_of_is_good(tmp_path: Path) -> None:
    check(write(tmp_path / "fields.gpkg", good(), good(2, "b")))
