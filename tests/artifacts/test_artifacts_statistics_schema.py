from __future__ import annotations

from pathlib import Path

from airflow_provider_sentinelhub.artifacts.statistics.schema import COLUMNS, fingerprint, part_schema, table_schema

ROOT = Path(__file__).parents[2]


def test_a_change_of_the_schema_is_noted_in_the_changelog() -> None:
    """Users' queries rest on it: whoever changes a name or a type says so, with the new number."""
    assert f"`{fingerprint()}`" in (ROOT / "CHANGELOG.md").read_text()


def test_the_page_names_the_form() -> None:
    assert f"`{fingerprint()}`" in (ROOT / "docs/statistics_table.md").read_text()


def test_parts_know_nothing_of_the_task() -> None:
    names = [each.name for each in COLUMNS]
    assert table_schema().names == names
    assert part_schema().names == names[:-2]
    assert names[-2:] == ["task_id", "rerun"]
