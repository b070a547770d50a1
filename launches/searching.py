"""What somebody typed into a page's search field."""

from django.http import QueryDict

SEARCH_LIMIT = 100


def typed_search(parameters: QueryDict) -> str:
    """The field `q`, trimmed and at most `SEARCH_LIMIT` characters long; no database stores a NUL."""
    return parameters.get("q", "").replace("\x00", "").strip()[:SEARCH_LIMIT]
