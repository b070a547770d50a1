"""The switch of the daily digest, behind the link in its mails: no sign-in, for the receiver of the mail."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from grades.digest_switch import switch_of


# The address is the key, and no cookie takes part: a mail program presses the button by itself (RFC 8058), without
# having seen the page.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def digest_switch(request: HttpRequest, token: str) -> HttpResponse:
    """GET shows how it stands, and changes nothing: mail programs open links to look at them. POST switches."""
    found = switch_of(token)
    if found is None:
        raise Http404
    if request.method == "POST":
        found.turn(request.POST.get("digest") == "on")
    context = {
        "is_on": found.is_on,
        "organization": found.organization,
        "is_off_for_all": not found.organization.grade_digest,
        "done": request.method == "POST",
    }
    response = render(request, "launches/digest_switch.html", context)
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response["Referrer-Policy"] = "no-referrer"
    return response
