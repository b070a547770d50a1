"""The page behind a public feedback link: no launch and no sign-in, for anybody who has the link (codio.md 1.4)."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from grades.feedback import feedback_of


@never_cache
@require_safe
def feedback(request: HttpRequest, token: str) -> HttpResponse:
    """A released score with its comment. It says of what, and not whose: a link is passed on sooner than a name should
    be, and who finds it in a gradebook knows."""
    score = feedback_of(token)
    if score is None:
        raise Http404
    course = score.assignment.course
    context = {"score": score, "assignment": score.assignment, "course": course, "organization": course.organization}
    response = render(request, "launches/feedback.html", context)
    # The address is the key: no search engine keeps it, and no page that is gone to learns it.
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response["Referrer-Policy"] = "no-referrer"
    return response
