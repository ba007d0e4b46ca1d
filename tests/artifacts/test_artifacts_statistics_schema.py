from __future__ import annotations

from pathlib import Path

from airflow_provider_sentinelhub.artifacts.statistics.schema import COLUMNS, fingerprint, part_schema, table_schema

ROOT = Path(__file__).parents[2]


def test_a_change_of_the_schema_is_noted_in_the_changelog() -> None:
    """Users' queries rest on it: whoever changes a name or a type says so, with the new number."""
    assert f"`{fingerprint()}`" in (ROOT / "CHANGELOG.md").read_text()


def test_the_page_describes_every_column() -> None:
    page = (ROOT / "docs/statistics_table.md").read_text()
    for name, kind, meaning in COLUMNS:
        assert f"| `{name}` | {kind} | {meaning} |" in page
    assert f"`{fingerprint()}`" in page


def test_parts_know_nothing_of_the_task() -> None:
    names = [name for name, _, _ in COLUMNS]
    assert table_schema().names == names
    assert part_schema().names == names[:-2]
    assert names[-2:] == ["task_id", "rerun"]
