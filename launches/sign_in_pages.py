"""How somebody who comes from an LMS gets a sign-in of their own: asked for in the frame, accepted from the mail."""

from typing import cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.forms import SetPasswordForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from launches.visits import Visit, get_visit, launch_page
from organizations.models import SignInLink, User
from organizations.own_sign_in import (
    AnotherUser,
    HasSignIn,
    LinkNotSent,
    LinkNotUsable,
    NoAddress,
    TooManyLinks,
    accept_as,
    accept_with_password,
    end_sign_in,
    find_link,
    mail_address_of,
    mail_sign_in_link,
    user_of_address,
)


def _own_visit(request: HttpRequest, launch_id: UUID) -> Visit:
    """A visit of the person themself: not of somebody who looks at their work, nor of an LMS's test user."""
    visit = get_visit(request, launch_id)
    if visit.is_look or visit.person.accounts.filter(is_test_user=True).exists():
        raise Http404
    return visit


@launch_page
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Says what a sign-in is good for, and mails the link. The address is not shown: whoever sits here knows theirs."""
    visit = _own_visit(request, launch_id)
    if request.method != "POST":
        return _asking(request, visit, "sent" if request.GET.get("sent") else "")
    try:
        mail_sign_in_link(visit.person, f"{settings.BASE_URL}{reverse('own-sign-in')}")
    except (HasSignIn, NoAddress):
        return redirect("launch-sign-in", visit.launch.id)
    except TooManyLinks:
        return _asking(request, visit, "too_many", status=429)
    except LinkNotSent:
        return _asking(request, visit, "not_sent", status=503)
    return redirect(f"{reverse('launch-sign-in', args=[visit.launch.id])}?sent=1")


def _asking(request: HttpRequest, visit: Visit, outcome: str, *, status: int = 200) -> HttpResponse:
    context = {
        "visit": visit,
        "has_sign_in": visit.person.user_id is not None,
        "has_address": bool(mail_address_of(visit.person)),
        "outcome": outcome,
        "sign_in_url": f"{settings.BASE_URL}{reverse('account_login')}",
    }
    return render(request, "launches/sign_in_ask.html", context, status=status)


@launch_page
@require_POST
def end(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """The person comes from the LMS only again."""
    visit = _own_visit(request, launch_id)
    end_sign_in(visit.person)
    return redirect("launch-sign-in", visit.launch.id)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def accept(request: HttpRequest) -> HttpResponse:
    """Where the mailed link leads. Opening it changes nothing (mail filters open links); sending its form does."""
    try:
        link = find_link(request.GET.get("link", ""))
        if request.method == "POST":
            return _accepted(request, link)
        return _accepting(request, link)
    except LinkNotUsable:
        return render(request, "launches/sign_in_accept.html", {"state": "unusable"}, status=410)


def _accepted(request: HttpRequest, link: SignInLink) -> HttpResponse:
    state = _state(request, link)
    try:
        if state == "tie":
            accept_as(link, cast(User, request.user))
            return redirect("home")
        if state == "password":
            form = _password_form(link, request)
            if not form.is_valid():
                return _accepting(request, link, form=form, status=422)
            user = accept_with_password(link, form.cleaned_data["new_password1"])
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
            return redirect("home")
    except AnotherUser:
        # The user of this address was made, or changed, in this very moment: the page says what to do now.
        return _accepting(request, link, status=403)
    return _accepting(request, link, status=403)


def _accepting(
    request: HttpRequest, link: SignInLink, *, form: "SetPasswordForm[User] | None" = None, status: int = 200
) -> HttpResponse:
    context = {
        "state": _state(request, link),
        "link": link,
        "organization": link.person.organization,
        "form": form or _password_form(link),
        "next": request.get_full_path(),
    }
    return render(request, "launches/sign_in_accept.html", context, status=status)


def _state(request: HttpRequest, link: SignInLink) -> str:
    """What the link's holder has to do: "password" (there is no user with the address), "tie" (signed in as that
    user), "sign_in" (as nobody), or "another" (signed in as somebody else)."""
    owner = user_of_address(link)
    if request.user.is_authenticated:
        return "tie" if owner is not None and owner.pk == request.user.pk else "another"
    return "password" if owner is None else "sign_in"


def _password_form(link: SignInLink, request: HttpRequest | None = None) -> "SetPasswordForm[User]":
    # The user is not there yet: it is what the password must not resemble.
    user = User(email=link.email, name=link.person.name)
    return SetPasswordForm(user, request.POST if request is not None else None)
