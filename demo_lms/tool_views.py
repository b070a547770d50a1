"""The browser's way through LTI 1.3: login, authorization, choosing content, reviewing work, registering tools."""

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from demo_lms import authorization, deep_linking, gradebook, launching, logins, registrations
from demo_lms import course as courses
from demo_lms.course import Course, Link, Person, RegisteredTool, the_course
from demo_lms.logins import Initiation
from lti.v1p3 import vocabulary as names
from lti.v1p3.services import with_query


def chosen_teacher(request: HttpRequest) -> Person | None:
    person = courses.person(str(request.session.get("person", "")))
    return person if person is not None and person.is_teacher else None


def _get_tool(course: Course, client_id: str) -> RegisteredTool:
    tool = next((tool for tool in course.registered_tools if tool.client_id == client_id), None)
    if tool is None:
        raise Http404("no such tool")
    return tool


def start_login(request: HttpRequest, initiation: Initiation, title: str) -> HttpResponse:
    """Send the browser to the tool's login URL: by a form that posts itself, or by a redirect (D5)."""
    if initiation.method == "GET":
        response: HttpResponse = redirect(with_query(initiation.url, initiation.pairs))
    else:
        response = render(request, "demo_lms/launch.html", {"form": initiation, "title": title})
    response["Cache-Control"] = "no-store"
    return response


# The tool sends the browser here, by either method.
@csrf_exempt
@require_http_methods(["GET", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    """The authorization endpoint."""
    given = request.POST if request.method == "POST" else request.GET
    try:
        answer = authorization.answer(
            {name: given[name] for name in given}, the_course(), str(request.session.get("person", ""))
        )
    except authorization.NotAnswered as problem:
        return render(request, "demo_lms/problem.html", {"problem": str(problem)}, status=404)
    response = render(request, "demo_lms/launch.html", {"form": answer, "title": "the tool"})
    response["Cache-Control"] = "no-store"
    return response


@require_GET
def picker(request: HttpRequest) -> HttpResponse:
    """The tool's picker in a frame."""
    if chosen_teacher(request) is None:
        return redirect("people")
    tool = _get_tool(the_course(), request.GET.get("tool", ""))
    if tool not in the_course().picker_tools:
        raise Http404("no active tool with a picker")
    return render(request, "demo_lms/picker.html", {"tool": tool})


@require_GET
def picker_launch(request: HttpRequest) -> HttpResponse:
    """The deep linking request."""
    person = chosen_teacher(request)
    if person is None:
        return redirect("people")
    tool = _get_tool(the_course(), request.GET.get("tool", ""))
    initiation = logins.start(tool, person, title="the picker", message_type=names.DEEP_LINKING_REQUEST)
    return start_login(request, initiation, f"the picker of {tool.name}")


# The tool's page posts the browser here; in its frame no cookie comes along, so the session key tells who it is.
@csrf_exempt
@require_POST
def take_choice(request: HttpRequest) -> HttpResponse:
    """The deep linking response."""
    course = the_course()
    person_id = launching.person_id_of(request.GET.get("sesskey", ""))
    person = courses.person(person_id) if person_id else None
    tool = course.active_tool(request.GET.get("client", ""))
    if person is None or not person.is_teacher or tool is None:
        return render(request, "demo_lms/problem.html", {"problem": "This way back is not yours."}, status=403)
    try:
        taken = deep_linking.take(request.POST.get("JWT", ""), tool, course, person)
    except deep_linking.NotTaken as refused:
        return render(request, "demo_lms/problem.html", {"problem": str(refused)}, status=400)
    context = {"person": person, "link": None, "message": taken.message, "error": taken.error}
    return render(request, "demo_lms/return.html", context)


@require_GET
def review(request: HttpRequest, slug: str, person_id: str) -> HttpResponse:
    """A student's work, as the tool shows it to the teacher, in a frame."""
    if chosen_teacher(request) is None:
        return redirect("people")
    link, student, tool = _reviewed(slug, person_id)
    return render(request, "demo_lms/review.html", {"link": link, "student": student, "tool": tool})


@require_GET
def review_launch(request: HttpRequest, slug: str, person_id: str) -> HttpResponse:
    """The submission review request; as Canvas, the launch of the URL that came with the grade (F12)."""
    teacher = chosen_teacher(request)
    if teacher is None:
        return redirect("people")
    link, student, tool = _reviewed(slug, person_id)
    entry = gradebook.entry_of(student, link)
    title = f"“{link.title}”, the work of {student.name}"
    if tool.preset.name == "canvas" and entry is not None and entry.submission_url:
        initiation = logins.start(tool, teacher, title=title, link=link, target_link_uri=entry.submission_url)
    else:
        initiation = logins.start(
            tool,
            teacher,
            title=title,
            link=link,
            message_type=names.SUBMISSION_REVIEW_REQUEST,
            for_user_id=student.id,
        )
    return start_login(request, initiation, title)


def _reviewed(slug: str, person_id: str) -> tuple[Link, Person, RegisteredTool]:
    course = the_course()
    link, student = course.link(slug), courses.person(person_id)
    tool = course.active_tool(link.client_id) if link else None
    if link is None or student is None or tool is None or not tool.reviews_submissions:
        raise Http404("nothing to review")
    return link, student, tool


# ------------------------------------------------------------------------------------------- the administrator


class AddToolForm(forms.Form):
    """What an administrator pastes."""

    registration_url = forms.CharField(max_length=2000, strip=True)
    upgrades = forms.BooleanField(required=False)


@require_http_methods(["GET", "POST"])
def tools(request: HttpRequest) -> HttpResponse:
    """The registered tools, and how each link is launched; a POST adds a tool by its registration URL."""
    if chosen_teacher(request) is None:
        return redirect("people")
    form = AddToolForm(request.POST or None)
    error = ""
    if request.method == "POST":
        if form.is_valid():
            try:
                url = registrations.start(form.cleaned_data["registration_url"], upgrades=form.cleaned_data["upgrades"])
            except ValueError as problem:
                error = str(problem)
            else:
                return render(request, "demo_lms/registering.html", {"registration_url": url})
        else:
            error = "Paste the registration URL that the tool's owner gave you."
    return render(request, "demo_lms/tools.html", {"error": error}, status=400 if error else 200)


@require_POST
def change_tool(request: HttpRequest, client_id: str) -> HttpResponse:
    """Activate or remove a tool that registered itself."""
    if chosen_teacher(request) is None:
        return redirect("people")
    course = the_course()
    tool = _get_tool(course, client_id)
    if not tool.is_added:
        raise Http404("this tool came with the course")
    if request.POST.get("do") == "remove":
        registrations.remove(tool)
    else:
        registrations.activate(tool, course)
    return redirect("tools")


@require_POST
def change_link(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose how a link is launched, or remove one that was added."""
    if chosen_teacher(request) is None:
        return redirect("people")
    course = the_course()
    link = course.link(slug)
    if link is None:
        raise Http404("no such link")
    if request.POST.get("do") == "remove":
        if not link.is_added:
            raise Http404("this link came with the course")
        courses.remove_link(link)
        return redirect("tools")
    client_id = request.POST.get("client_id", "")
    if client_id and course.active_tool(client_id) is None:
        raise Http404("no such tool")
    courses.choose_lti(link, client_id)
    return redirect("tools")
