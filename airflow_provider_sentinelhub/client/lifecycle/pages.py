"""Lists of the service that are read page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from airflow_provider_sentinelhub.client.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_sentinelhub.client.http.call import Call, Procedure
    from airflow_provider_sentinelhub.client.lifecycle.tasks import Links

MOST_PAGES: Final = 10_000


class Page(Protocol):
    """One page of a list."""

    @property
    def links(self) -> Links:
        """Link to the next page."""

    @property
    def data(self) -> list[Any]:
        """What is listed."""


P = TypeVar("P", bound=Page)


def read_pages(call: Callable[[str | None], Call[P]], take: Callable[[P], object]) -> Procedure[int]:
    """
    Read a list page by page until the last; only one page is in memory at a time.

    Code that wants each page when it asks for it sends the pages itself: ``walk = read_pages(call, seen)``, then
    ``next(walk)`` and ``walk.send(page)`` return one Call after the other.

    :param call: Makes the Call for the page with a token; the first page has ``None``.
    :param take: Gets each page.
    :returns: Number of pages.
    :raises ServiceUnavailable: The list has no end: a token came twice, or there are too many pages.
    """
    tokens: set[str] = set()
    token: str | None = None
    what = ""
    for number in range(1, MOST_PAGES + 1):
        asked = call(token)
        what = asked.what
        page: P = yield asked
        take(page)
        following = page.links.next_token
        # An empty page that names itself as the next one is the end as well.
        if not following or (following == token and not page.data):
            return number
        if following in tokens:
            raise _endless(what, f"the token of a page came twice, after {number} pages")
        tokens.add(following)
        token = following
    raise _endless(what, f"there are more than {MOST_PAGES:,} pages")


def _endless(what: str, why: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"Cannot {what}: {why}. Try again later.")
