"""What the templates of launch pages need beyond Django's own tags."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from courses.markdown import render
from launches.branding import logo_url, style_url
from launches.course_navigation import access_of, entries
from launches.mentoring import is_limited, names_nobody

register = template.Library()
register.filter("markdown", render)
register.filter("logo_url", logo_url)
register.filter("is_limited", is_limited)
register.filter("names_nobody", names_nobody)


@register.simple_tag(takes_context=True)
def launch_token(context: template.Context) -> SafeString:
    """The hidden field that every form of a launch page carries (J13); signed in directly, Django's own."""
    if context.get("visit") is None:
        return format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', context["csrf_token"])
    return format_html('<input type="hidden" name="launch_token" value="{}">', context["visit"].token)


@register.simple_tag(takes_context=True)
def course_url(context: template.Context, page: str, **parameters: Any) -> str:
    """Another page of the context's `access`, as `CourseAccess.url` names it."""
    return str(context["access"].url(page, **parameters))


@register.simple_tag(takes_context=True)
def grading_url(context: template.Context, page: str, **parameters: Any) -> str:
    """A page on which the context's `assignment` is graded, as `CourseAccess.grading_url` names it."""
    return str(context["access"].grading_url(page, context["assignment"].pk, **parameters))


@register.inclusion_tag("launches/course_nav.html", takes_context=True)
def course_nav(context: template.Context, current: str = "") -> dict[str, Any]:
    """The ways between the pages of the context's course (`access`, or `visit`); `current` is where one is."""
    access, visit = context.get("access"), context.get("visit")
    if access is None and visit is not None:
        access = access_of(visit)
    return {"entries": entries(access) if access is not None else [], "current": current}


_WORK = {
    "draft": ("launch-draft", "course-own-draft"),
    "submission": ("launch-submission", "course-own-submission"),
    "passage": ("launch-own-passage", "course-own-passage"),
}


@register.simple_tag(takes_context=True)
def work_url(context: template.Context, page: str) -> str:
    """Where the student's own work in the context's `assignment` is kept ("draft", "submission", "passage"): a page of
    the visit, or of the course for those who signed in directly."""
    assignment, visit = context["assignment"], context.get("visit")
    in_frame, directly = _WORK[page]
    if visit is not None:
        return reverse(in_frame, args=[visit.launch.id, assignment.id])
    return reverse(directly, args=[assignment.course_id, assignment.id])


@register.simple_tag(takes_context=True)
def organization_style(context: template.Context) -> SafeString:
    """The link to the organization's colours, if it has some."""
    visit = context["visit"]
    url = style_url(visit.organization, visit.launch.id)
    return format_html('<link rel="stylesheet" href="{}">', url) if url else SafeString("")


@register.simple_tag
def local_time(when: datetime | None, form: str = "") -> SafeString:
    """A time that the browser shows in its own zone, and that reads as UTC without scripts.

    `form`: empty, "due" (with the day of the week), "short" (only the time today, only the day before), or "away" (how
    far away it is).
    """
    if when is None:
        return SafeString("")
    utc = when.astimezone(UTC)
    return format_html(
        '<time datetime="{}" data-local="{}">{} UTC</time>',
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        form,
        f"{utc.day} {utc:%b %Y, %H:%M}",
    )


@register.filter
def points(value: Decimal | None) -> str:
    """A number of points without needless zeros: 7.50 → 7.5, 10.00 → 10."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """The page's own query string with some of it changed; an empty value takes a parameter out."""
    parameters = context["request"].GET.copy()
    for name, value in changes.items():
        if value in ("", None):
            parameters.pop(name, None)
        else:
            parameters[name] = value
    return f"?{parameters.urlencode()}" if parameters else "?"
