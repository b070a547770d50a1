"""The pages of the demo content application, under /content/."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from demo_lms import content
from demo_lms.course import the_course


# The hand-off comes from the platform's page; a visit's opaque id is what its forms are checked by.
@csrf_exempt
@require_http_methods(["GET", "POST"])
def arrive(request: HttpRequest) -> HttpResponse:
    """A hand-off (POST with a token); a GET explains."""
    if request.method == "GET":
        return render(request, "demo_lms/content.html", {"problem": "Open me from an assignment of the platform."})
    try:
        visit = content.welcome(request.POST.get("token", ""), the_course().tool)
    except content.TokenRefused as refused:
        return render(request, "demo_lms/content.html", {"problem": str(refused)}, status=403)
    return render(request, "demo_lms/content.html", {"visit": visit})


@csrf_exempt
@require_POST
def finish(request: HttpRequest, visit_id: str) -> HttpResponse:
    """The student is done: report 8 points, or what was chosen, and go back to the platform."""
    visit = content.get_visit(visit_id)
    if visit is None:
        raise Http404("no such visit")
    points = request.POST.get("points", "8")
    if points not in {str(number) for number in range(11)}:
        return render(
            request, "demo_lms/content.html", {"visit": visit, "problem": "Points are from 0 to 10."}, status=400
        )
    try:
        content.finish(visit, int(points), the_course().tool)
    except content.ScoreNotTaken as error:
        return render(request, "demo_lms/content.html", {"visit": visit, "problem": str(error)}, status=502)
    return HttpResponseRedirect(visit.return_url)
