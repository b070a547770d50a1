"""The switches of a course as its teachers set them: what is wrong with them, what they would break, and the saving."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from pydantic import TypeAdapter
from pydantic import ValidationError as InputError

from courses.models import IFRAME_SIZE, Course
from events.log import Actor, EventType, record
from organizations.input_types import GuardedAddress

ADDRESS_LIMIT = 2000
_ADDRESS: TypeAdapter[str] = TypeAdapter(GuardedAddress)
_SIZE = f"Give a whole number of pixels, {IFRAME_SIZE[0]} to {IFRAME_SIZE[1]}."


class ChangedMeanwhileError(Exception):
    """Somebody else has saved the settings since they were shown; `course` has what is stored now."""

    def __init__(self, course: Course) -> None:
        super().__init__("The settings were changed meanwhile.")
        self.course = course


def checked_lms_course_url(url: str) -> str:
    """The address of the course in the LMS, as people follow it. Raises `ValidationError` saying what is wrong."""
    url = url.strip()
    if not url:
        return ""
    if len(url) > ADDRESS_LIMIT:
        raise ValidationError(f"This address is too long (at most {ADDRESS_LIMIT} characters).")
    schemes = "https:// (or http://)" if settings.OUTBOUND_ALLOW_HTTP else "https://"
    if not url.lower().startswith(("https://", "http://") if settings.OUTBOUND_ALLOW_HTTP else "https://"):
        raise ValidationError(f"Give the whole address of the course in your LMS. It begins with {schemes}.")
    try:
        return _ADDRESS.validate_python(url)
    except InputError as error:
        raise ValidationError(
            "This is no address that a browser can open. Copy it from the address bar, without a user name or password."
        ) from error


class CourseSettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    """Everything that the LTI/LMS page sets (codio.md 1.4)."""

    lms_course_url = forms.CharField(label="Course LMS URL", required=False, strip=True)
    iframe_width = forms.IntegerField(
        label="Iframe width", min_value=IFRAME_SIZE[0], max_value=IFRAME_SIZE[1], error_messages={"invalid": _SIZE}
    )
    iframe_height = forms.IntegerField(
        label="Iframe height", min_value=IFRAME_SIZE[0], max_value=IFRAME_SIZE[1], error_messages={"invalid": _SIZE}
    )

    class Meta:
        model = Course
        fields = [
            "lti_enabled",
            "lms_course_url",
            "constant_urls",
            "course_copy",
            "enroll_only",
            "hide_not_started",
            "filter_learners_for_mentors",
            "release_grades_automatically",
            "send_grade",
            "public_feedback_link",
            "iframe_width",
            "iframe_height",
        ]
        labels = {
            "lti_enabled": "Enable LTI",
            "constant_urls": "LTI constant URLs",
            "course_copy": "LTI course copy",
            "enroll_only": "Enroll to course only",
            "hide_not_started": "Hide assignments that are not started",
            "filter_learners_for_mentors": "Filter learners for mentors",
            "release_grades_automatically": "Release grades automatically",
            "send_grade": "When grades go to the LMS",
            "public_feedback_link": "Public feedback link",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("iframe_width", "iframe_height"):
            field = self.fields[name]
            field.error_messages["required"] = _SIZE
            for validator in field.validators:
                validator.message = _SIZE  # type: ignore[attr-defined]

    def clean_lms_course_url(self) -> str:
        return checked_lms_course_url(self.cleaned_data["lms_course_url"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("course_copy") and not cleaned.get("constant_urls"):
            self.add_error(
                "course_copy", "Course copy needs constant URLs: switch them on as well, or course copy off."
            )
        return cleaned

    def settings(self) -> dict[str, Any]:
        """The settings by name; the form has to be valid."""
        return {name: self.cleaned_data[name] for name in self.Meta.fields}


FIELDS = tuple(CourseSettingsForm.Meta.fields)


def state_of(course: Course) -> str:
    """What tells one state of the settings from another: a page hands it back, so that nobody overwrites unseen."""
    values = json.dumps({name: getattr(course, name) for name in FIELDS}, sort_keys=True)
    return hashlib.sha256(values.encode()).hexdigest()[:32]


def switches_to_confirm(course: Course, values: dict[str, Any]) -> list[str]:
    """The changes that break something for people who are in the course now: `lti_enabled` going off, and
    `constant_urls` changing at all."""
    found = []
    if course.lti_enabled and not values["lti_enabled"]:
        found.append("lti_enabled")
    if course.constant_urls != values["constant_urls"]:
        found.append("constant_urls")
    return found


def note_changed_settings(course: Course, names: Iterable[str], actor: Actor) -> None:
    """Writes into the log whose settings were changed and by whom, if any were: their names, since a value such as the
    course's address may be somebody's alone. Call it in the transaction that changes them."""
    changed = sorted(names)
    if changed:
        record(
            course.organization_id,
            EventType.COURSE_SETTINGS_CHANGED,
            actor=actor,
            subject_kind="course",
            subject_id=course.pk,
            data={"settings": changed},
        )


def save_settings(course: Course, values: dict[str, Any], *, seen: str, actor: Actor) -> list[str]:
    """Saves what differs, and returns the names of it; `course` has it then, too.

    `seen` is the `state_of` that the values were typed over. Raises `ChangedMeanwhileError` when it is no longer so,
    and `Course.DoesNotExist`; then nothing has changed. The row is locked: copying the course takes all of this or
    nothing.
    """
    with transaction.atomic():
        locked = Course.objects.select_for_update(no_key=True).get(pk=course.pk)
        if state_of(locked) != seen:
            raise ChangedMeanwhileError(locked)
        changed = [name for name in FIELDS if getattr(locked, name) != values[name]]
        for name in changed:
            setattr(locked, name, values[name])
        if changed:
            locked.save(update_fields=changed)
            note_changed_settings(locked, changed, actor)
    for name in FIELDS:
        setattr(course, name, values[name])
    return changed
