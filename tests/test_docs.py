"""What the documentation promises about the code, links and messages is looked up there."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from devtools.docs import DocsError, pages, refreshed
from devtools.signatures import PACKAGE, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [str(page.relative_to(REPOSITORY)) for page in pages()]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")
# A message in the first cell of a table row; dots stand for what differs from case to case.
MESSAGE = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


def read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The names GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_what_is_taken_from_the_code_is_up_to_date(page: str) -> None:
    assert refreshed(read(page)) == read(page), "write it anew with: python -m devtools.docs"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in LINK.findall(read(page)):
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES)
def test_code_can_be_read(page: str) -> None:
    for _, language, code in FENCE.findall(read(page)):
        if language == "python":
            ast.parse(code)
        elif language == "json":
            json.loads(code)


POLICIES = [json.loads(code) for _, language, code in FENCE.findall(read("docs/roles.md")) if language == "json"]
BUCKET = frozenset({"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"})
OBJECT = frozenset({"s3:GetObject", "s3:PutObject", "s3:DeleteObject"})


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def statements(key: str) -> list[dict[str, Any]]:
    """The statements of the policies shown that have a principal, or a resource."""
    return [each for policy in POLICIES for each in policy.get("Statement", ()) if key in each]


def test_policies_shown_have_the_form_of_policies() -> None:
    assert len(POLICIES) == 8
    for policy in POLICIES[:-1]:
        assert list(policy) == ["Version", "Statement"]
        # With the other version AWS knows, variables in a policy mean nothing.
        assert policy["Version"] == "2012-10-17"
        names = [statement["Sid"] for statement in policy["Statement"]]
        assert len(set(names)) == len(names)
        for statement in policy["Statement"]:
            # AWS takes no other characters there.
            assert statement["Sid"].isalnum()
            assert statement["Effect"] == "Allow"
            assert set(statement) <= {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
            assert {"Principal", "Resource"} & set(statement)
            for resource in listed(statement.get("Resource", [])):
                assert re.fullmatch(r"arn:aws:(s3:::my-bucket(/\*)?|iam::123456789012:role/sentinelhub)", resource)


def test_the_role_admits_the_service_and_airflow() -> None:
    service, airflow = (each for each in statements("Principal") if each["Action"] == "sts:AssumeRole")
    accounts = {DEPLOYMENTS[key].account for key in ("aws-eu-central-1", "aws-us-west-2")}
    assert {service["Principal"]["AWS"]} == {f"arn:aws:iam::{account}:root" for account in accounts}
    assert set(service["Condition"]["StringEquals"]) == {"sts:ExternalId", "sts:RoleSessionName"}
    assert "Condition" not in airflow
    assert airflow["Principal"]["AWS"].startswith("arn:aws:iam::123456789012:")
    text = read("docs/roles.md")
    connection = json.loads(re.findall(r"AIRFLOW_CONN_AWS_DEFAULT='(.*assume_role_kwargs.*)'", text)[0])
    names = {"sts:ExternalId": "ExternalId", "sts:RoleSessionName": "RoleSessionName"}
    conditions = {names[key]: value for key, value in service["Condition"]["StringEquals"].items()}
    assert connection["extra"]["assume_role_kwargs"] == conditions


def test_the_permissions_shown_are_those_that_are_needed() -> None:
    granted = {
        (action, resource)
        for each in statements("Resource")
        if "Principal" not in each and "sts:AssumeRole" not in each["Action"]
        for action in listed(each["Action"])
        for resource in listed(each["Resource"])
    }
    assert {action for action, _ in granted} == BUCKET
    assert {action for action, resource in granted if resource.endswith("/*")} == OBJECT
    assert set(POLICIES[-1]["includedPermissions"]) == {
        f"storage.objects.{name}" for name in ("create", "get", "delete", "list")
    }


@pytest.mark.parametrize("sid", ["SentinelHubCollections", "SentinelHubDelivery"])
def test_a_bucket_can_be_opened_on_every_deployment(sid: str) -> None:
    opened = [each for each in statements("Principal") if each["Sid"] == sid]
    accounts = {each.account for each in DEPLOYMENTS.values() if each.account}
    assert {each["Principal"]["AWS"] for each in opened} == {f"arn:aws:iam::{account}:root" for account in accounts}
    written = {"s3:PutObject"} if sid == "SentinelHubDelivery" else set()
    for each in opened:
        assert set(each["Action"]) == {"s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject"} | written
        assert set(each["Resource"]) == {"arn:aws:s3:::my-bucket", "arn:aws:s3:::my-bucket/*"}


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/howto/")])
def test_what_a_guide_uses_is_imported_there(page: str) -> None:
    code = [
        node for _, kind, text in FENCE.findall(read(page)) if kind == "python" for node in ast.walk(ast.parse(text))
    ]
    used = {node.id for node in code if isinstance(node, ast.Name) and node.id.startswith("SentinelHub")}
    imported = {name.name for node in code if isinstance(node, ast.ImportFrom) for name in node.names}
    assert used
    assert used <= imported


@pytest.mark.parametrize("page", PAGES)
def test_tests_and_programs_named_exist(page: str) -> None:
    for path, name in re.findall(
        r"((?:tests|benchmarks|devtools|dags_examples)/[\w/]+\.\w+)(?:::([\w:]+))?", read(page)
    ):
        assert (REPOSITORY / path).exists(), path
        for part in filter(None, name.split("::")):
            assert re.search(rf"(?:def|class) {part}\b", read(path)), f"{path}::{name}"
    for module in re.findall(r"python -m (devtools\.\w+)", read(page)):
        place = REPOSITORY / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


@pytest.mark.parametrize("page", PAGES)
def test_modules_named_exist(page: str) -> None:
    named = set(re.findall(rf"\b{PACKAGE.name}(?:\.\w+)+", read(page)))
    for module, names in re.findall(rf"from ({PACKAGE.name}[.\w]*) import (.+)", read(page)):
        named |= {f"{module}.{name.split(' as ')[0].strip()}" for name in names.split(",")}
    for dotted in named:
        path, rest = PACKAGE, dotted.split(".")[1:]
        while rest and (path / rest[0]).is_dir():
            path /= rest.pop(0)
        path = path / f"{rest.pop(0)}.py" if rest and (path / f"{rest[0]}.py").is_file() else path / "__init__.py"
        assert path.is_file(), dotted
        for name in rest:
            assert re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")), dotted


def events(page: str) -> list[tuple[str, str]]:
    """The first cell of each row of the tables of events, and the rest of the row."""
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", read(page), re.MULTILINE)
    return [row for row in rows if row[0] != "What happens"]


def test_every_promise_has_a_proof() -> None:
    proofs = events("docs/maintainers/proofs.md")
    assert [event for event, _ in proofs] == [event for event, _ in events("docs/what_happens_when.md")]
    for event, proved_by in proofs:
        assert re.search(r"`(?:tests/[^`]+|make chaos)`", proved_by), event


def test_every_page_can_be_reached() -> None:
    linked = {
        ((REPOSITORY / page).parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(read(page))
    }
    assert [page for page in PAGES if (REPOSITORY / page).resolve() not in linked and page != "README.md"] == []


@pytest.mark.parametrize(
    "path",
    sorted(
        str(p.relative_to(REPOSITORY)) for folder in (PACKAGE, REPOSITORY / "devtools") for p in folder.rglob("*.py")
    ),
)
def test_pages_named_in_the_code_exist(path: str) -> None:
    for named in re.findall(r"docs/[\w/]+\.md", read(path)):
        assert (REPOSITORY / named).exists(), named


def test_every_marked_region_is_shown_somewhere() -> None:
    shown = "".join(read(page) for page in PAGES)
    for dag in sorted((REPOSITORY / "dags_examples").glob("*.py")):
        for region in re.findall(r"\[START (\w+)\]", dag.read_text(encoding="utf-8")):
            assert f"<!-- from dags_examples/{dag.name}: {region} -->" in shown


@cache
def said_in_the_code() -> str:
    nodes = [node for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return "\n".join(text.value for text in texts if isinstance(text.value, str))


@pytest.mark.parametrize("message", MESSAGE.findall(read("docs/troubleshooting.md")))
def test_messages_are_those_of_the_code(message: str) -> None:
    for part in message.split("..."):
        assert part.strip() in said_in_the_code()


@pytest.mark.parametrize(
    "comment",
    [
        "from dags_examples/no_such.py: x",
        "from dags_examples/corsica_max_ndvi.py: no_such_region",
        "parameters of NoSuchClass",
        "columns of airflow_provider_sentinelhub/__init__.py",
        "listing of airflow_provider_sentinelhub/__init__.py",
        "messages of tests/bad_inputs/no_such.py: REQUESTS",
        "messages of tests/bad_inputs/requests.py: NO_SUCH",
        "poem of spring",
    ],
)
def test_what_does_not_exist_is_not_passed_over(comment: str) -> None:
    with pytest.raises(DocsError):
        refreshed(f"<!-- {comment} -->\n<!-- end -->")


def test_a_page_that_differs_is_written_anew() -> None:
    before = "a\n<!-- from dags_examples/first_batch.py: readme_dag -->\n```python\nold\n```\n<!-- end -->\nb"
    after = refreshed(before)
    assert after.startswith("a\n<!-- from dags_examples/first_batch.py: readme_dag -->\n```python\nfrom typing")
    assert after.endswith("tell(max_ndvi.output)\n```\n<!-- end -->\nb")
    assert refreshed(after) == after


def test_files_named_in_the_architecture_exist() -> None:
    listing = FENCE.findall(read("docs/architecture.md"))[0][2]
    folders: list[tuple[int, Path]] = [(-1, REPOSITORY)]
    for line in listing.splitlines():
        name = line.split()[0]
        indent = len(line) - len(line.lstrip())
        while folders[-1][0] >= indent:
            folders.pop()
        path = folders[-1][1] / name
        assert path.exists(), line
        if path.is_dir():
            folders.append((indent, path))


def test_result_in_the_report_page_has_the_keys_of_a_result() -> None:
    shown = next(
        json.loads(code)
        for _, language, code in FENCE.findall(read("docs/howto/batch_report.md"))
        if language == "json"
    )
    assert list(shown) == ["task_id", "outcome", "status", "cost_pu", *FeatureReport(0).to_dict()]
