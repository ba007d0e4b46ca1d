"""Pages of a list, and the search in it."""

from __future__ import annotations

import base64
from typing import TypeVar
from urllib.parse import urlencode

from airflow_provider_sentinelhub.simulator.problems import violations

PAGE = 100
Item = TypeVar("Item")


def matches(text: str, search: str | None) -> bool:
    """
    Say whether a text matches a search.

    :param text: The text.
    :param search: Words joined by ``|`` and ``&``; everything matches when empty.
    """
    text = text.lower()
    alternatives = (search or "").lower().split("|")
    return any(all(word.strip() in text for word in each.split("&")) for each in alternatives)


def page(
    items: list[Item], count: int | None, viewtoken: str | None, url: str, **query: str | None
) -> tuple[list[Item], dict[str, str]]:
    """
    Return one page of a list.

    :param items: The whole list.
    :param count: Size of the page; at most 100, which is the default.
    :param viewtoken: Which page; the first when ``None``.
    :param url: The caller's URL without the query.
    :param query: The caller's other parameters, which the links repeat.
    :returns: The page and its ``links``; ``nextToken`` is absent on the last one.
    :raises Problem: 400.
    """
    if count is not None and count < 1:
        raise violations([{"parameter": "count", "violation": "count must be greater than 0"}])
    size = min(count or PAGE, PAGE)
    try:
        start = int(base64.urlsafe_b64decode(viewtoken or _token(0)))
    except ValueError:
        start = -1
    if start < 0:
        raise violations([{"parameter": "viewtoken", "violation": "viewtoken is invalid"}])
    others = {name: value for name, value in query.items() if value is not None}

    def link(token: str) -> str:
        return f"{url}?{urlencode({'count': size, **others, 'viewtoken': token})}"

    links = {"currentToken": _token(start), "@id": link(_token(start))}
    if start + size < len(items):
        links["nextToken"] = _token(start + size)
        links["next"] = link(links["nextToken"])
    if start > 0:
        links["previousToken"] = _token(max(0, start - size))
        links["previous"] = link(links["previousToken"])
    return items[start : start + size], links


def _token(start: int) -> str:
    return base64.urlsafe_b64encode(str(start).encode()).decode()
