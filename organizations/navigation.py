"""The admin's side bar and head, by subject. settings.UNFOLD names them; links go by URL name into any room."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse

from organizations.models import Organization
from organizations.tenancy import scope_of

Item = dict[str, Any]


def sidebar(request: HttpRequest) -> list[Item]:
    """The groups that the user's role has pages in."""
    scope = scope_of(request)
    groups = [
        _group(
            "",
            _item("Home", "index", "home"),
        ),
        _group(
            "Connection",
            _item("LMS installations", "organizations_installation_changelist", "hub"),
            _item("LTI 1.3 registrations", "organizations_registration_changelist", "handshake"),
            _item("Meeting servers", "recordings_meetingserver_changelist", "videocam"),
            _item("Launch log", "launches_launch_changelist", "login"),
            _item("Deliveries", "events_delivery_changelist", "outbox"),
        ),
        _group(
            "Teaching",
            _item("Courses", "courses_course_changelist", "school"),
            _item("Assignments", "courses_assignment_changelist", "assignment"),
            _item("Rooms", "recordings_room_changelist", "video_camera_front"),
            _item("LMS courses", "courses_lmscourse_changelist", "link"),
            _item("Enrolments", "courses_enrolment_changelist", "how_to_reg"),
            _item("Scores", "grades_score_changelist", "grade"),
            _item("People", "organizations_person_changelist", "groups"),
        ),
        _group(
            "Organization",
            _organization_item(request),
            _rules_item(request),
            _item("Members", "organizations_membership_changelist", "badge"),
            _item("API tokens", "organizations_apitoken_changelist", "key"),
            _item("Webhooks", "events_webhookendpoint_changelist", "webhook"),
            _item("Mails", "events_mail_changelist", "mail"),
            _item("Events", "events_event_changelist", "history"),
        ),
    ]
    if scope.is_operator:
        groups.append(
            _group(
                "Operation",
                _item("Users", "organizations_user_changelist", "person"),
                _item("System health", "health", "monitor_heart"),
            )
        )
    return groups


def site_header(request: HttpRequest) -> str:
    """Where the person is: their organization, or the whole platform."""
    scope = scope_of(request)
    if scope.is_operator or not scope.opens_admin:
        return "LTI platform"
    if scope.only_organization_id is None:
        return f"{len(scope.organization_ids)} organizations"
    return _only_organization_name(request)


def site_subheader(request: HttpRequest) -> str:
    scope = scope_of(request)
    return "Operator" if scope.is_operator else "Owner"


def icon(request: HttpRequest) -> str:
    return static("img/mark.svg")


def stylesheet(request: HttpRequest) -> str:
    return static("admin/platform.css")


def script(request: HttpRequest) -> str:
    return static("admin/platform.js")


def _only_organization_name(request: HttpRequest) -> str:
    name: str | None = getattr(request, "_only_organization_name", None)
    if name is None:
        name = scope_of(request).limit(Organization.objects.all()).values_list("name", flat=True)[0]
        request._only_organization_name = name  # type: ignore[attr-defined]
    return str(name)


def _group(title: str, *items: Item | None) -> Item:
    return {"title": title, "separator": bool(title), "items": [item for item in items if item]}


def _item(title: str, name: str, icon: str) -> Item | None:
    try:
        return {"title": title, "icon": icon, "link": reverse(f"admin:{name}")}
    except NoReverseMatch:
        return None  # a room that is not installed


def _organization_item(request: HttpRequest) -> Item | None:
    only = scope_of(request).only_organization_id
    if only is None:
        return _item("Organizations", "organizations_organization_changelist", "domain")
    link = reverse("admin:organizations_organization_change", args=[only])
    return {"title": "Organization", "icon": "domain", "link": link}


def _rules_item(request: HttpRequest) -> Item | None:
    """The rules for live sessions of one's only organization; of several they are a click away from each."""
    only = scope_of(request).only_organization_id
    if only is None:
        return None
    link = reverse("admin:meeting-policy", args=[only])
    return {"title": "Live session rules", "icon": "rule", "link": link}
