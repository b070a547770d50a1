"""The panel of a set-up guide that waits for the first launch: what came from one installation since the panel opened,
or in the hour before that, and why it failed (pages.md)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from launches.models import Launch
from launches.refusal_texts import RefusalText, refusal_text
from lti.errors import LaunchErrorCode
from organizations.identifiers import first_uuid7_of
from organizations.models import Deployment, Installation, Registration

LOOK_BACK = timedelta(hours=1)
# The panel asks by itself for so long; then "look again" goes on.
WATCH_FOR = timedelta(minutes=10)
LONGEST_LOOK_BACK = timedelta(days=1)
ROWS = 50

# Whether the reader may be told who arrived; a teacher in the frame knows the people of their own LMS course only.
MayName = Callable[[Launch], bool]


@dataclass(frozen=True)
class Watch:
    """What the panel's address carries: `since` when it looks, when it `opened`, and the state that was `seen` last."""

    since: datetime
    opened: datetime
    seen: str

    @classmethod
    def asked(cls, request: HttpRequest, look_back: timedelta = LOOK_BACK) -> "Watch":
        """From the query string. Nonsense, the future and the long past count as `look_back` ago, and as opened now."""
        now = timezone.now()
        since = _moment(request.GET.get("since", ""), now) or now - look_back
        opened = _moment(request.GET.get("opened", ""), now) or now
        return cls(since, opened, request.GET.get("seen", "")[:100])

    @property
    def is_over(self) -> bool:
        return timezone.now() - self.opened > WATCH_FOR

    def query(self, seen: str, **more: str) -> str:
        """The query string for the next look by itself; `more` is what the page's own address needs."""
        return urlencode({"since": _stamp(self.since), "opened": _stamp(self.opened), "seen": seen, **more})

    def query_anew(self, **more: str) -> str:
        """For looking again at the same time and on, after the panel stopped asking."""
        return urlencode({"since": _stamp(self.since), **more})

    def query_from_now(self, **more: str) -> str:
        """For waiting for the next launch, whatever came before."""
        return urlencode({"since": _stamp(timezone.now()), **more})


def _stamp(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


def _moment(text: str, now: datetime) -> datetime | None:
    if not (text.isascii() and text.isdigit() and len(text) < 15):
        return None
    moment = datetime.fromtimestamp(int(text) / 1000, UTC)
    return moment if now - LONGEST_LOOK_BACK <= moment <= now else None


@dataclass(frozen=True)
class FirstLaunch:
    """What came from the installation: the newest launch decides whether the panel is green, red, or waits."""

    installation: Installation
    watch: Watch
    rows: tuple[Launch, ...]
    may_name: MayName

    @cached_property
    def arrived(self) -> Launch | None:
        """The newest that was let in."""
        return next((row for row in self.rows if row.result == Launch.ACCEPTED), None)

    @cached_property
    def failed(self) -> Launch | None:
        """The newest, if it was refused. A double click or a reload after an arrival is no failure (A17)."""
        for row in self.rows:
            if row.result == Launch.ACCEPTED:
                return None
            if row.result != LaunchErrorCode.NONCE_REUSED or self.arrived is None:
                return row
        return None

    @property
    def state(self) -> str:
        if self.failed is not None:
            return "refused"
        return "arrived" if self.arrived is not None else "nothing"

    @property
    def goes_on(self) -> bool:
        """Whether the panel asks again by itself."""
        return self.state != "arrived" and not self.watch.is_over

    @property
    def seen(self) -> str:
        """What is shown, in short: while it stays the same the panel stays as it is, and screen readers stay quiet."""
        newest = self.failed or self.arrived
        return f"{self.state}-{newest.reference if newest else ''}-{'on' if self.goes_on else 'off'}"

    @property
    def refused_count(self) -> int:
        return sum(row.result != Launch.ACCEPTED for row in self.rows)

    @property
    def who(self) -> str:
        """The person of the launch that arrived, where the reader may know them; else their role."""
        row = self.arrived
        if row is None:
            return ""
        if row.person is not None and self.may_name(row):
            return row.person.display_name
        return f"A {row.role}" if row.role else "Somebody"

    @property
    def where(self) -> str:
        """What the launch that arrived opened."""
        row = self.arrived
        if row is None or not self.may_name(row):
            return ""
        return str(row.assignment or row.course or "")

    @property
    def refusal(self) -> RefusalText | None:
        """Why the newest was refused, in words."""
        return refusal_text(_code(self.failed)) if self.failed is not None else None

    @property
    def hint(self) -> str:
        """Which screen of the LMS corrects it; names nobody."""
        refusal = self.failed.refusal if self.failed is not None else None
        return str(refusal.get("hint", "")) if isinstance(refusal, Mapping) else ""

    @property
    def cause(self) -> str:
        """What exactly was wrong, as the launch log says it: for owners."""
        refusal = self.failed.refusal if self.failed is not None else None
        return str(refusal.get("cause", "")) if isinstance(refusal, Mapping) else ""


def _code(launch: Launch) -> LaunchErrorCode:
    try:
        return LaunchErrorCode(launch.result)
    except ValueError:
        return LaunchErrorCode.MALFORMED


def look(installation: Installation, watch: Watch, may_name: MayName, *, own: UUID | None = None) -> FirstLaunch:
    """What came from this installation since the watch began, without the launch `own` that the reader came by.

    Rows are found by the time in their ids, inside the installation's organization.
    """
    rows: QuerySet[Launch] = (
        Launch.objects.filter(
            organization=installation.organization_id,
            installation=installation,
            pk__gte=first_uuid7_of(watch.since),
        )
        .select_related("person", "course", "assignment", "resource_link")
        .defer("nonce", "return_url", "browser")
    )
    if own is not None:
        rows = rows.exclude(pk=own)
    return FirstLaunch(installation, watch, tuple(rows.order_by("-pk")[:ROWS]), may_name)


def what_is_missing(installation: Installation) -> str:
    """Why no launch of this installation could be let in, whatever the LMS does; "" where nothing stands in the way."""
    if not installation.enabled:
        return "disabled"
    if any(key.enabled for key in installation.keys.all()):
        return ""
    registrations = list(Registration.objects.filter(installation=installation, enabled=True))
    if not registrations and not Deployment.objects.filter(installation=installation).exists():
        return "no_credentials"
    if registrations and all(registration.state == Registration.State.PENDING for registration in registrations):
        return "pending"
    return ""
