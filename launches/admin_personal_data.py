"""An owner's answer to "what do you know of me?" and to "forget me": a download, and the page that erases (J20)."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from launches.merging import note_in_history
from launches.personal_data import MergedMeanwhileError, erase, export_of
from organizations.models import LmsAccount, Person
from organizations.tenancy import scope_of

EXPORT_PAGE, ERASE_PAGE = "person-export", "person-erase"


class EraseForm(forms.Form):
    """What becomes of the scores, and that it is meant."""

    scores = forms.ChoiceField(
        choices=[
            ("keep", "Keep the scores under no name, so that averages and what was sent to the LMS stay traceable"),
            ("delete", "Delete the scores, too"),
        ],
        error_messages={"required": "Choose what becomes of the scores."},
    )
    sure = forms.BooleanField(error_messages={"required": "Tick this: it cannot be undone."})


def export_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """A JSON file of everything that is held of the person."""
    person = _person(request, object_id)
    note_in_history(person, scope_of(request).actor, "Personal data downloaded.")
    response = JsonResponse(export_of(person), json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = f'attachment; filename="person-{person.pk}.json"'
    return response


def erase_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """GET asks, POST erases; 422 where something was left open."""
    person = _person(request, object_id)
    form = EraseForm(request.POST) if request.method == "POST" else EraseForm()
    if request.method == "POST" and form.is_valid():
        try:
            erased = erase(person, scope_of(request).actor, keep_scores=form.cleaned_data["scores"] == "keep")
        except (MergedMeanwhileError, Person.DoesNotExist):
            messages.warning(request, "The person was merged at this very moment. Nothing was erased: look again.")
            return redirect("admin:organizations_person_changelist")
        plural = "" if erased.accounts == 1 else "s"
        messages.success(request, f"Erased; {erased.accounts} LMS account{plural} released.")
        return redirect("admin:organizations_person_change", person.pk)
    return TemplateResponse(
        request,
        "admin/launches/person_erase.html",
        {
            **admin.site.each_context(request),
            "title": f"Erase {person}?",
            "opts": Person._meta,
            "original": person,
            "has_view_permission": True,
            "person": person,
            "form": form,
            "accounts": LmsAccount.objects.filter(person=person).select_related("installation").order_by("id")[:50],
        },
        status=422 if form.errors else 200,
    )


def _person(request: HttpRequest, object_id: UUID) -> Person:
    people = Person.objects.select_related("organization", "user")
    person = scope_of(request).limit(people).filter(pk=object_id).first()
    if person is None:
        raise Http404
    found: Person = person
    return found


site: Any = admin.site
site.register_page("organizations/person/<uuid:object_id>/export/", export_page, EXPORT_PAGE)
site.register_page("organizations/person/<uuid:object_id>/erase/", erase_page, ERASE_PAGE)
