"""Calls of the API in tests."""

import json
from typing import Any

from django.test import Client

from organizations.api_tokens import make_token
from organizations.models import Organization


class Caller:
    """Somebody with an API token of the organization."""

    def __init__(self, organization: Organization, name: str = "tests") -> None:
        self.organization = organization
        self.api_token, self.token = make_token(organization, name)
        self.client = Client(headers={"Authorization": f"Bearer {self.token}"})

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1{path}", query)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Any:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.client.generic(method, f"/api/v1{path}", content, content_type=content_type, headers=headers)

    def post(self, path: str, body: Any = None) -> Any:
        return self.send("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        return self.send("PUT", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self.send("PATCH", path, body)

    def all(self, path: str, **query: Any) -> list[Any]:
        """Every item of a list, page by page."""
        items: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, **query, **cursor).json()
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}


def problem_of(response: Any, status: int) -> dict[str, Any]:
    """The problem document of a refusal with this status; its form is checked."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert {"type", "title", "status", "detail", "errors"} <= set(document)
    assert document["detail"]
    return document


def fields_of(response: Any, status: int = 422) -> dict[str, str]:
    """The wrong fields of a refusal with their messages."""
    return {error["field"]: error["message"] for error in problem_of(response, status)["errors"]}
