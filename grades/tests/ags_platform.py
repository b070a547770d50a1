"""An LTI 1.3 platform's grade services on loopback, with Moodle's manners (moodle.md 34 to 41), and one student there.

It checks what a platform checks: the assertion's signature, tokens, scopes, exact media types, and timestamps.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
from django.db import transaction
from django.utils import timezone

from courses.models import ResourceLink
from events.deliveries import deliver_due
from events.models import Delivery
from grades.cells import remember_line_item_cell
from grades.tests.place import Place
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import AgsClaim
from organizations.models import Organization
from organizations.tool_keys import key_set
from tests.factories import DeploymentFactory, GradebookCellFactory
from tests.loopback import Received, Reply, serve

CLIENT_ID = "client-1"
STUDENT = "user-5"
JSON = "application/json"


@dataclass
class Column:
    """A line item; `grades` by user: the members of each accepted score, in order."""

    members: dict[str, Any]
    grades: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass
class AgsPlatform:
    """`manners` may answer before the platform does (None: it does not). `granted` None means what was asked for."""

    url: str = ""
    public_keys: dict[str, Any] = field(default_factory=dict)
    granted: list[str] | None = None
    token_seconds: int = 3600
    delay: float = 0.0
    returns_link_ids: bool = True
    manners: Callable[[Received], Reply | None] = lambda received: None
    columns: dict[str, Column] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    scores: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # every post, taken or not
    received: list[Received] = field(default_factory=list)
    assertions: list[dict[str, Any]] = field(default_factory=list)
    overlaps: int = 0
    _busy: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # ------------------------------------------------------------------------------------------------ for tests

    @property
    def token_url(self) -> str:
        return f"{self.url}/mod/lti/token.php"

    @property
    def line_items_url(self) -> str:
        return f"{self.url}/mod/lti/services.php/2/lineitems?type_id=3"

    def line_item_url(self, number: str) -> str:
        return f"{self.url}/mod/lti/services.php/2/lineitems/{number}/lineitem?type_id=3"

    def add_column(self, number: str, **members: Any) -> Column:
        values = {"id": self.line_item_url(number), "label": "A column", "scoreMaximum": 100, **members}
        self.columns[number] = Column(values)
        return self.columns[number]

    def trust(self, organization: Organization) -> None:
        """Reads the tool's key set, as it would over the net."""
        for key in key_set(organization)["keys"]:
            self.public_keys[key["kid"]] = jwt.PyJWK(dict(key)).key

    def asked(self, method: str, path: str = "") -> int:
        """How many requests of this method came to paths that end so."""
        return sum(
            received.method == method and urlsplit(received.path).path.endswith(path) for received in self.received
        )

    def stamps(self) -> list[int]:
        """The whole seconds of the timestamps of all posts, in the order they came."""
        return [second(members) for _, members in self.scores]

    def last(self, number: str = "4", user: str = STUDENT) -> Decimal | None:
        """The grade that the gradebook shows, in points of 100; None for an empty cell."""
        posts = self.columns[number].grades.get(user, [])
        if not posts or "scoreGiven" not in posts[-1]:
            return None
        return Decimal(str(posts[-1]["scoreGiven"])) * 100 / Decimal(str(posts[-1]["scoreMaximum"]))

    # ------------------------------------------------------------------------------------------------ the platform

    def answer(self, received: Received) -> Reply:
        with self._lock:
            self.received.append(received)
        if self.delay:
            time.sleep(self.delay)
        mannered = self.manners(received)
        if mannered is not None:
            return mannered
        path = urlsplit(received.path).path
        if path == "/mod/lti/token.php":
            return self._token(received)
        parts = path.split("/lineitems", 1)
        if len(parts) != 2:
            return Reply(404, b"<html>Error | testmoodle</html>", {"Content-Type": "text/html"})
        token = received.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return refusal(401, "Unauthorized")
        return self._service(received, parts[1], self.tokens[token])

    def _token(self, received: Received) -> Reply:
        form = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
        assertion = form["client_assertion"]
        try:
            claims = jwt.decode(
                assertion,
                self.public_keys[jwt.get_unverified_header(assertion)["kid"]],
                algorithms=["RS256"],
                audience=self.token_url,
                issuer=CLIENT_ID,
            )
        except (jwt.InvalidTokenError, KeyError):
            return Reply(400, b'{"error": "Signature verification failed"}', {"Content-Type": "text/html"})
        scopes = form["scope"].split() if self.granted is None else self.granted
        with self._lock:
            self.assertions.append(claims)
            token = f"token-{len(self.assertions)}"
            self.tokens[token] = set(scopes)
        body = {"access_token": token, "token_type": "Bearer", "expires_in": self.token_seconds}
        return Reply(200, json.dumps({**body, "scope": " ".join(scopes)}).encode(), {"Content-Type": JSON})

    def _service(self, received: Received, rest: str, scopes: set[str]) -> Reply:
        types = received.headers.get("Accept", ""), received.headers.get("Content-Type", "")
        if rest == "":
            if received.method == "GET" and types[0] == names.LINE_ITEMS_TYPE:
                return self._list(received) if scopes & {names.SCOPE_LINE_ITEM, names.SCOPE_LINE_ITEM_READONLY} else _NO
            if received.method == "POST" and types == (names.LINE_ITEM_TYPE, names.LINE_ITEM_TYPE):
                return self._create(received) if names.SCOPE_LINE_ITEM in scopes else _NO
            return refusal(400, f"No handler found for /2/lineitems {types[0]} {types[1]}")
        number, _, verb = rest.strip("/").partition("/")
        if verb == "lineitem/scores" and received.method == "POST" and types[1] == names.SCORE_TYPE:
            if names.SCOPE_SCORE not in scopes:
                return _NO
            return self._scored(number, received)
        if verb == "lineitem/results" and received.method == "GET" and types[0] == names.RESULTS_TYPE:
            return self._results(number)
        return refusal(400, f"No handler found for /2/lineitems{rest} {types[0]} {types[1]}")

    def _list(self, received: Received) -> Reply:
        query = dict(parse_qsl(urlsplit(received.path).query))
        wanted = {"resource_id": "resourceId", "tag": "tag", "resource_link_id": "resourceLinkId"}
        with self._lock:
            found = [
                column.members
                for column in self.columns.values()
                if all(column.members.get(member) == query[name] for name, member in wanted.items() if name in query)
            ]
        return Reply(200, json.dumps(found).encode(), {"Content-Type": names.LINE_ITEMS_TYPE})

    def _create(self, received: Received) -> Reply:
        members = json.loads(received.body)
        if not members.get("label") or not members.get("scoreMaximum"):
            return refusal(400, "No label or Score Maximum")
        with self._lock:
            number = str(100 + len(self.columns))
            self.add_column(number, **members)
            body = json.dumps(self.columns[number].members).encode()
        return Reply(201, body, {"Content-Type": names.LINE_ITEM_TYPE})

    def _scored(self, number: str, received: Received) -> Reply:
        members = json.loads(received.body)
        key = f"{number} {members['userId']}"
        with self._lock:
            self.overlaps += key in self._busy
            self._busy.add(key)
            self.scores.append((number, members))
        try:
            time.sleep(self.delay)
            with self._lock:
                column = self.columns.get(number)
                if column is None:
                    return refusal(404, f"Not Found: Grade item {number} doesn't exist")
                if members["userId"].startswith("teacher"):
                    return Reply(400, b"[]")
                posts = column.grades.setdefault(members["userId"], [])
                if posts and second(posts[-1]) >= second(members):
                    return Reply(409, b"[]", {"Content-Type": JSON})
                if members["gradingProgress"] != "FullyGraded":
                    members.pop("scoreGiven", None)  # Moodle empties the cell
                posts.append(members)
                return Reply(200)
        finally:
            with self._lock:
                self._busy.discard(key)

    def _results(self, number: str) -> Reply:
        column = self.columns.get(number)
        if column is None:
            return refusal(404, f"Not Found: Grade item {number} doesn't exist")
        results = [
            {
                "id": f"{self.line_item_url(number)}&user_id={user}",
                "userId": user,
                "resultScore": posts[-1]["scoreGiven"],
                "resultMaximum": posts[-1]["scoreMaximum"],
                **({"comment": posts[-1]["comment"]} if "comment" in posts[-1] else {}),
            }
            for user, posts in column.grades.items()
        ]
        return Reply(200, json.dumps(results).encode(), {"Content-Type": names.RESULTS_TYPE})


def second(members: dict[str, Any]) -> int:
    """The whole second of a score's timestamp, which is all that Moodle compares."""
    return int(datetime.fromisoformat(members["timestamp"]).timestamp())


def refusal(status: int, reason: str) -> Reply:
    return Reply(status, json.dumps({"status": status, "reason": reason}).encode(), {"Content-Type": JSON})


_NO = refusal(403, "insufficient_scope")


@contextmanager
def serve_ags() -> Iterator[AgsPlatform]:
    """The platform, with column 4 for the student's link."""
    platform = AgsPlatform()
    with serve(platform.answer) as server:
        platform.url = server.url
        platform.add_column("4")
        yield platform


def an_ags_place(platform: AgsPlatform, *, column: str = "4", **changes: Any) -> Place:
    """A student whose link's grades go to `column` of this platform ("": the launch named none)."""
    cell: Any = GradebookCellFactory(
        **{
            "lti_key": None,
            "outcome_service_url": "",
            "result_sourcedid": "",
            "lms_user_id": STUDENT,
            "line_items_url": platform.line_items_url,
            "scopes": list(names.AGS_SCOPES),
            **changes,
        }
    )
    deployment: Any = DeploymentFactory(
        registration__installation=cell.installation,
        registration__issuer=platform.url,
        registration__client_id=CLIENT_ID,
        registration__token_url=platform.token_url,
        registration__auth_login_url=f"{platform.url}/mod/lti/auth.php",
        registration__jwks_url=f"{platform.url}/mod/lti/certs.php",
    )
    cell.deployment = deployment
    cell.save()
    if column:
        ResourceLink.objects.filter(pk=cell.resource_link_id).update(line_item_url=platform.line_item_url(column))
        cell.resource_link.refresh_from_db()
    platform.trust(cell.installation.organization)
    return Place(cell)


def another_student(place: Place, lms_user_id: str) -> Place:
    """Somebody else in the same link of the same LMS."""
    cell: Any = GradebookCellFactory(
        assignment=place.assignment,
        installation=place.installation,
        resource_link=place.cell.resource_link,
        lti_key=None,
        outcome_service_url="",
        result_sourcedid="",
        lms_user_id=lms_user_id,
        line_items_url=place.cell.line_items_url,
        scopes=place.cell.scopes,
        deployment=place.cell.deployment,
    )
    return Place(cell)


def delivery_of(place: Place) -> Delivery:
    """The newest one to the student's cell."""
    return Delivery.objects.filter(target_id=place.cell.id).latest("sequence")


def link_of(place: Place) -> ResourceLink:
    return ResourceLink.objects.get(pk=place.cell.resource_link_id)


def due_again() -> None:
    Delivery.objects.filter(state="pending").update(due_at=timezone.now())


def deliver_until_settled(seconds: float = 20) -> None:
    """Without waiting for any backoff."""
    deadline = time.monotonic() + seconds
    while Delivery.objects.filter(state="pending").exists() and time.monotonic() < deadline:
        deliver_due()
        due_again()
        time.sleep(0.01)


def launch(place: Place, *, line_item: str = "", line_items: str | None = None, **changes: Any) -> None:
    """As arrival does for a student of LTI 1.3; `line_item` is what the launch names."""
    ags = AgsClaim(tuple(names.AGS_SCOPES), place.cell.line_items_url if line_items is None else line_items, line_item)
    values: dict[str, Any] = {
        "resource_link": changes.pop("resource_link", None) or link_of(place),
        "person_id": place.person.pk,
        "assignment": place.assignment,
        "installation_id": place.installation.pk,
        "deployment_id": place.cell.deployment_id,
        "lms_user_id": STUDENT,
        "send_grade": "",
        "ags": ags,
        **changes,
    }
    with transaction.atomic(savepoint=False):
        remember_line_item_cell(**values)
