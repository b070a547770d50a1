"""What an organization says about live sessions, for its owners: what holds where nobody sets anything, what nobody may
set otherwise, the longest session, the most participants, and how long recordings are kept."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from launches.room_settings_pages import GROUPS
from launches.room_settings_words import WORDINGS, in_words
from organizations.models import Organization
from organizations.tenancy import scope_of
from recordings.models import Recording
from recordings.room_settings import (
    LONGEST_DURATION,
    MOST_PARTICIPANTS,
    RoomSettings,
    SettingsError,
    checked_settings,
    policy_problems,
)

PAGE = "meeting-policy"
INTRO = (
    "These rules hold for every live session of the organization. What is not fixed here, a teacher may set on a room, "
    "and a link in the LMS by its custom parameters. Sessions that run already stay as they are."
)
LONGEST_RETENTION = 36_500  # days
# Times belong to a room; an organization has none.
_NAMES = tuple(name for name in WORDINGS if name not in ("opens_at", "closes_at"))
_FIXED = "fixed_"
_LIMITS: Mapping[str, tuple[str, str, int]] = {
    "max_duration": ("Longest session, in minutes", "No session lasts longer. Empty: no limit.", LONGEST_DURATION),
    "max_participants": (
        "Most participants",
        "No session takes more people in. Empty: no limit.",
        MOST_PARTICIPANTS,
    ),
    "recording_days": (
        "Days that recordings are kept",
        "Older recordings are deleted from the meeting server, those that are there already too. Empty: they are kept.",
        LONGEST_RETENTION,
    ),
}


class MeetingPolicyForm(forms.Form):
    """One field for each setting that is on or off, two for each other one: its value, and whether that is fixed.

    The three limits are called `limit_max_duration`, `limit_max_participants` and `limit_recording_days`.
    """

    def __init__(self, policy: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.policy = policy
        forced, defaults = _mapping(policy, "forced"), _mapping(policy, "defaults")
        for name in _NAMES:
            is_forced = name in forced
            value = forced.get(name, defaults.get(name))
            if _is_switch(name):
                self.fields[name] = _switch(name, value, is_forced)
            else:
                self.fields[name] = _value_field(name, value)
                self.fields[_FIXED + name] = forms.BooleanField(
                    label="Nobody may set it otherwise",
                    required=False,
                    initial=is_forced,
                    widget=UnfoldBooleanSwitchWidget,
                )
        for name, (label, text, most) in _LIMITS.items():
            self.fields[f"limit_{name}"] = forms.IntegerField(
                label=label,
                help_text=text,
                min_value=1,
                max_value=most,
                required=False,
                initial=policy.get(name),
                widget=UnfoldAdminIntegerFieldWidget,
            )

    def groups(self) -> list[tuple[str, list[Any]]]:
        """The fields as the page shows them."""
        groups = [("Limits and retention", [self[f"limit_{name}"] for name in _LIMITS])]
        for title, names in GROUPS:
            shown: list[Any] = []
            for name in names:
                shown += [self[field] for field in (name, _FIXED + name) if field in self.fields]
            groups.append((title, shown))
        return groups

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in _NAMES:
            value = self._value(name)
            if value is None:
                if cleaned.get(_FIXED + name) and name not in self.errors:
                    self.add_error(name, "Say what is fixed, or switch off that it is.")
                continue
            try:
                checked_settings({name: value})
            except SettingsError as error:
                self.add_error(name, ValidationError(f"It {error.message}."))
        return cleaned

    def meeting_policy(self) -> dict[str, Any]:
        """The policy as it is stored; the form has to be valid. What it has no field for stays, if it can be."""
        found: dict[str, dict[str, Any]] = {}
        wrong = {problem.name for problem in policy_problems(self.policy)}
        for part in ("defaults", "forced"):
            others = {
                name: value
                for name, value in _mapping(self.policy, part).items()
                if name not in _NAMES and name not in wrong
            }
            mine = {name: self._value(name) for name in _NAMES if self._part(name) == part}
            found[part] = checked_settings({**others, **mine})
        limits = {name: self.cleaned_data[f"limit_{name}"] for name in _LIMITS}
        values: dict[str, Any] = {**found, **limits}
        return {name: value for name, value in values.items() if value}

    def _value(self, name: str) -> Any:
        """The value as JSON has it; None where nothing is set."""
        given = self.cleaned_data.get(name)
        if _is_switch(name):
            return {"on": True, "off": False}.get((given or "").removeprefix("always-"))
        return given.replace("\r\n", "\n") or None if isinstance(given, str) else given

    def _part(self, name: str) -> str:
        if self._value(name) is None:
            return ""
        if _is_switch(name):
            return "forced" if self.cleaned_data[name].startswith("always-") else "defaults"
        return "forced" if self.cleaned_data[_FIXED + name] else "defaults"


def _is_switch(name: str) -> bool:
    return isinstance(getattr(RoomSettings(), name), bool)


def _mapping(policy: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = policy.get(name)
    return found if isinstance(found, Mapping) else {}


def _switch(name: str, value: Any, is_forced: bool) -> forms.ChoiceField:
    built_in = in_words(name, getattr(RoomSettings(), name))
    initial = "" if not isinstance(value, bool) else ("always-" if is_forced else "") + ("on" if value else "off")
    return forms.ChoiceField(
        label=WORDINGS[name].label,
        help_text=WORDINGS[name].text,
        required=False,
        initial=initial,
        choices=[
            ("", f"As built in: {built_in}, unless somebody sets it"),
            ("on", "On, unless somebody sets it"),
            ("off", "Off, unless somebody sets it"),
            ("always-on", "Always on"),
            ("always-off", "Always off"),
        ],
        widget=UnfoldAdminSelectWidget,
    )


def _value_field(name: str, value: Any) -> forms.Field:
    wording = WORDINGS[name]
    common: dict[str, Any] = {"label": wording.label, "help_text": wording.text, "required": False, "initial": value}
    if isinstance(getattr(RoomSettings(), name), int):
        # The limits above have the same words.
        common["label"] = f"{wording.label} unless somebody sets it, in {wording.unit}"
        return forms.IntegerField(**common, min_value=0, widget=UnfoldAdminIntegerFieldWidget)
    if name == "welcome_message":
        return forms.CharField(**common, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    return forms.CharField(**common, widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}))


def policy_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """GET shows the rules, POST saves them; shorter retention that would delete something is asked about first."""
    organization = scope_of(request).limit(Organization.objects.all()).filter(pk=object_id).first()
    if organization is None:
        raise Http404
    if request.method != "POST":
        return _page(request, organization, MeetingPolicyForm(organization.meeting_policy))
    form = MeetingPolicyForm(organization.meeting_policy, request.POST)
    if not form.is_valid():
        return _page(request, organization, form, status=422)
    wanted = form.meeting_policy()
    days, before = wanted.get("recording_days"), organization.meeting_policy.get("recording_days")
    if days and days != before and request.POST.get("confirmed") != str(days):
        lost = _recordings_older_than(organization, days)
        if lost:
            return _page(request, organization, form, status=422, days=days, lost=lost)
    with transaction.atomic():
        stored = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        if state_of(stored) != request.POST.get("seen"):
            fresh = MeetingPolicyForm(stored.meeting_policy, request.POST)
            return _page(request, stored, fresh, status=409, changed_meanwhile=True)
        stored.meeting_policy = wanted
        stored.save(update_fields=["meeting_policy"])
    model_admin: Any = admin.site._registry[Organization]
    model_admin.log_change(request, stored, "Rules for live sessions")
    messages.success(request, "Saved. The rules hold from the next session on.")
    return redirect(f"{admin.site.name}:{PAGE}", stored.pk)


def state_of(organization: Organization) -> str:
    """Another text whenever another policy is stored."""
    return hashlib.sha256(json.dumps(organization.meeting_policy, sort_keys=True).encode()).hexdigest()[:16]


def _recordings_older_than(organization: Organization, days: int) -> int:
    return Recording.objects.filter(
        room__course__organization=organization,
        state=Recording.State.AVAILABLE,
        recorded_at__lt=timezone.now() - timedelta(days=days),
    ).count()


def _page(
    request: HttpRequest, organization: Organization, form: MeetingPolicyForm, *, status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Rules for live sessions",
        "opts": Organization._meta,
        "original": organization,
        "has_view_permission": True,
        "intro": INTRO,
        "form": form,
        "seen": state_of(organization),
        "problems": policy_problems(organization.meeting_policy),
        **more,
    }
    return TemplateResponse(request, "admin/launches/meeting_policy.html", context, status=status)


site: Any = admin.site
site.register_page("organizations/organization/<uuid:object_id>/live-sessions/", policy_page, PAGE)
