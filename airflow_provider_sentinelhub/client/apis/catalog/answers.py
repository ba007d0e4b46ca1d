"""
The answers of the Catalog API.

Items stay the dicts that JSON makes of them, or the texts that the service sent: a search may find many thousands. The
hook turns those into objects of pystac that somebody wants as such.

Source: https://docs.planet.com/develop/apis/catalog/ and its reference
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_sentinelhub.client.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from msgspec import Raw

Item = dict[str, Any]
"""A STAC item, a STAC collection, or another JSON object of the catalog."""


@dataclass(frozen=True, slots=True)
class ItemPage:
    """
    One page of what a search found.

    :param items: The items; as ``msgspec.Raw`` if the search asked for their texts.
    :param next: What to send as ``next`` for the page after this; ``None`` if this is the last.
    :param values: The distinct values, if the search asked for those instead of items.
    :param links: Links, as the service wrote them.
    :param returned: Number of items or values in the page, as the service says.
    :param matched: Number of all items found; ``None``, as the service does not say it.
    """

    items: list[Any]
    next: int | None = None
    values: tuple[Any, ...] = ()
    links: tuple[Mapping[str, Any], ...] = ()
    returned: int | None = None
    matched: int | None = None

    @classmethod
    def parse(cls, answer: Any) -> ItemPage:
        """
        Read an answer.

        :param answer: Decoded JSON.
        :raises ValueError: It is not a feature collection.
        """
        features = answer.get("features") if isinstance(answer, dict) else None
        if not isinstance(features, list):
            raise ValueError("not a feature collection")  # noqa: TRY004 - the policy turns this into an API error
        links = tuple(each for each in _list(answer.get("links")) if isinstance(each, dict))
        context = answer.get("context")
        context = context if isinstance(context, dict) else {}
        return cls(
            [each for each in features if isinstance(each, dict)],
            _offset(context.get("next")) if "next" in context else _linked(links),
            tuple(each for each in features if each is not None and not isinstance(each, dict)),
            links,
            _offset(context.get("returned", answer.get("numberReturned"))),
            _offset(context.get("matched", answer.get("numberMatched"))),
        )

    @classmethod
    def parse_texts(cls, answer: Any) -> ItemPage:
        """
        Read an answer whose items stay the texts that the service sent.

        :param answer: JSON whose members are ``msgspec.Raw``; decoded JSON if it is not quite JSON.
        :raises ValueError: It is not a feature collection, or not UTF-8.
        """
        from msgspec import Raw, json

        features = answer.get("features") if isinstance(answer, dict) else None
        if not isinstance(features, Raw):
            page = cls.parse(answer)
            return replace(page, items=[Raw(json.encode(each)) for each in page.items])
        # Of a text that is passed on, nobody else checks this.
        str(features, "utf-8")
        around = {name: json.decode(raw) for name, raw in answer.items() if name != "features"}
        found = json.decode(features, type=list[Raw])
        items = [each for each in found if _is_object(each)]
        values = [json.decode(each) for each in found if not _is_object(each)]
        return replace(cls.parse(around | {"features": values}), items=items)


@dataclass(frozen=True, slots=True)
class Found:
    """
    What a search found, over all its pages.

    :param items: The items, in the order of the service.
    :param values: The distinct values, if the search asked for those instead of items.
    :param is_complete: Whether that is all; otherwise there are more than were asked for.
    :param pages: Number of pages read.
    """

    items: list[Item]
    values: list[Any]
    is_complete: bool
    pages: int


def collections_in(answer: Any) -> list[Item]:
    """
    Read a list of collections.

    :param answer: Decoded JSON.
    :raises ValueError: It is not one.
    """
    found = answer.get("collections") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise ValueError("not a list of collections")  # noqa: TRY004 - as above
    return [each for each in found if isinstance(each, dict)]


def conformance_in(answer: Any) -> list[str]:
    """
    Read a list of conformance classes.

    :param answer: Decoded JSON.
    :raises ValueError: It is not one.
    """
    found = answer.get("conformsTo") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise ValueError("not a list of conformance classes")  # noqa: TRY004 - as above
    return [each for each in found if isinstance(each, str)]


def object_in(answer: Any) -> Item:
    """
    Read a JSON object.

    :param answer: Decoded JSON.
    :raises ValueError: It is not one.
    """
    if not isinstance(answer, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - as above
    return answer


def item_in(text: bytes | Raw) -> Item:
    """
    Read the text of an item.

    :param text: JSON.
    :raises UnexpectedAnswer: It has a number that is out of range.
    """
    from msgspec import DecodeError, json

    try:
        return object_in(json.decode(text))
    except DecodeError as e:
        raise UnexpectedAnswer(f"The catalog returned something that is no item ({type(e).__name__}).") from None


def _is_object(text: Raw) -> bool:
    return memoryview(text)[0] == ord("{")


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []


def _offset(given: Any) -> int | None:
    # JSON's true is a number to Python.
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        return None
    text = str(given)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004 - digits


def _linked(links: tuple[Mapping[str, Any], ...]) -> int | None:
    """Return where the next page begins by its link: lists of items have no context."""
    for link in links:
        if link.get("rel") == "next":
            body, href = link.get("body"), link.get("href")
            if isinstance(body, dict) and "next" in body:
                return _offset(body["next"])
            try:
                asked = parse_qs(urlsplit(str(href)).query)
            except ValueError:
                return None
            return _offset(asked.get("next", [None])[0])
    return None
