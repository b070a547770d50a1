"""The pages of the demo LMS. Nobody signs in: one chooses who to be."""

from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from demo_lms import course as courses
from demo_lms import gradebook, launching, logins, manners, messages, outcomes
from demo_lms.columns import columns_of
from demo_lms.course import Link, Person, the_course
from demo_lms.manners import Manner
from demo_lms.service_views import close_connection
from demo_lms.tool_views import start_login


def chosen_person(request: HttpRequest) -> Person | None:
    return courses.person(str(request.session.get("person", "")))


def page_context(request: HttpRequest) -> dict[str, Any]:
    """What every page shows: the person, the course, and whether a fault is switched on."""
    return {
        "person": chosen_person(request),
        "course": the_course(),
        "storage_mode": manners.current(manners.STORAGE).mode,
        "faults": [name for name in manners.MODES if manners.current(name).mode != "normal"],
    }


def _get_link(slug: str) -> Link:
    link = the_course().link(slug)
    if link is None:
        raise Http404("no such link")
    return link


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    return redirect("course" if chosen_person(request) else "people")


@require_http_methods(["GET", "POST"])
def people(request: HttpRequest) -> HttpResponse:
    """The chooser."""
    if request.method == "POST":
        person = courses.person(request.POST.get("person", ""))
        if person is None:
            raise Http404("no such person")
        request.session["person"] = person.id
        return redirect("course")
    return render(request, "demo_lms/people.html", {"people": courses.PEOPLE})


@require_GET
def course(request: HttpRequest) -> HttpResponse:
    if chosen_person(request) is None:
        return redirect("people")
    return render(request, "demo_lms/course.html")


@require_GET
def link(request: HttpRequest, slug: str) -> HttpResponse:
    """A link in its frame."""
    if chosen_person(request) is None:
        return redirect("people")
    link = _get_link(slug)
    return render(request, "demo_lms/link.html", {"link": link, "tool": the_course().active_tool(link.client_id)})


@require_GET
def launch(request: HttpRequest, slug: str) -> HttpResponse:
    """The signed form, which posts itself; over LTI 1.3 the login."""
    link, person = _get_link(slug), chosen_person(request)
    if person is None:
        return redirect("people")
    container: courses.Container = "window" if request.GET.get("container") == "window" else "frame"
    tool = the_course().active_tool(link.client_id)
    if tool is not None:
        initiation = logins.start(tool, person, title=f"“{link.title}”", link=link, container=container)
        return start_login(request, initiation, link.title)
    form = launching.launch(the_course(), link, person, container)
    response = render(request, "demo_lms/launch.html", {"form": form, "title": link.title})
    response["Cache-Control"] = "no-store"
    return response


@require_GET
def storage_frame(request: HttpRequest) -> HttpResponse:
    """The frame that keeps data for tools, as Canvas has one beside the tool's (D26)."""
    return render(request, "demo_lms/storage_frame.html", {"storage": manners.current(manners.STORAGE).mode})


@require_GET
def come_back(request: HttpRequest) -> HttpResponse:
    """Where a tool sends people back to. Messages are shown as text; without one the page leaves the frame, as Moodle's
    does (moodle.md 15). The session key tells who it is: in a frame, a cookie does not come along."""
    person_id = launching.person_id_of(request.GET.get("sesskey", ""))
    person = courses.person(person_id) if person_id else None
    context = {
        "person": person,
        "link": the_course().link_by_id(request.GET.get("instanceid", "")),
        "message": request.GET.get("lti_msg", "")[:500],
        "error": request.GET.get("lti_errormsg", "")[:500],
    }
    return render(request, "demo_lms/return.html", context, status=200 if person else 403)


@require_GET
def grades(request: HttpRequest) -> HttpResponse:
    """The teacher sees everybody's grades, a student their own."""
    person = chosen_person(request)
    if person is None:
        return redirect("people")
    course = the_course()
    rows = gradebook.rows(course, only=None if person.is_teacher else person)
    return render(request, "demo_lms/gradebook.html", {"rows": rows, "columns": columns_of(course)})


class MannerForm(forms.Form):
    """A switch with its numbers."""

    name = forms.ChoiceField(choices=[(name, name) for name in manners.MODES])
    mode = forms.CharField()
    seconds = forms.IntegerField(min_value=0, max_value=120, required=False)
    remaining = forms.IntegerField(min_value=1, max_value=1000, required=False)


@require_http_methods(["GET", "POST"])
def manners_panel(request: HttpRequest) -> HttpResponse:
    """The switches."""
    error = ""
    if request.method == "POST":
        form = MannerForm(request.POST)
        if form.is_valid():
            seconds = form.cleaned_data["seconds"]
            manner = Manner(
                form.cleaned_data["mode"], 5 if seconds is None else seconds, form.cleaned_data["remaining"]
            )
            try:
                manners.switch(form.cleaned_data["name"], manner)
            except ValueError as refused:
                error = str(refused)
            else:
                return redirect("manners")
        else:
            error = "; ".join(f"{name}: {' '.join(map(str, errors))}" for name, errors in form.errors.items())
    panels = [
        {
            "name": name,
            "title": manners.TITLES[name],
            "modes": modes.items(),
            "current": manners.current(name),
            "counts": name in manners.COUNTED,
        }
        for name, modes in manners.MODES.items()
    ]
    return render(request, "demo_lms/manners.html", {"panels": panels, "error": error}, status=400 if error else 200)


@require_GET
def message_list(request: HttpRequest) -> HttpResponse:
    kind = request.GET.get("kind", "")
    return render(request, "demo_lms/messages.html", {"messages": messages.latest(kind), "kind": kind})


@csrf_exempt
@require_POST
def outcome_service(request: HttpRequest) -> HttpResponseBase:
    """Grades arrive here."""
    received = outcomes.Received(
        body=request.body,
        authorization=request.headers.get("Authorization", ""),
        content_type=request.headers.get("Content-Type", ""),
    )
    answer = outcomes.receive(received, the_course())
    if answer.closed:
        close_connection(request)
    return HttpResponse(
        answer.body, status=answer.status, headers=dict(answer.headers), content_type="text/html; charset=utf-8"
    )
