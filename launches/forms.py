"""What people type into launch pages."""

import contextlib
import re
from decimal import Decimal
from uuid import UUID

from django import forms

from grades.models import Score
from lti.return_url import safe_http_url

TEXT_LIMIT = 100_000
COMMENT_LIMIT = 10_000
_NUMBER = re.compile(r"\d{1,7}(?:[.,]\d{1,2})?")
_PLACES = Score._meta.get_field("points").decimal_places


class WorkForm(forms.Form):
    """A student's work: text, a link, or both."""

    text = forms.CharField(
        label="Your answer",
        required=False,
        max_length=TEXT_LIMIT,
        strip=False,
        widget=forms.Textarea(attrs={"class": "form-control work-text", "rows": 9}),
    )
    url = forms.CharField(
        label="Link to your work",
        required=False,
        max_length=2000,
        help_text="For example to a document or a video. Make sure that your teacher may open it.",
        widget=forms.TextInput(
            attrs={"class": "form-control", "inputmode": "url", "autocomplete": "off", "placeholder": "https://"}
        ),
        error_messages={"max_length": "This link is too long (at most 2000 characters)."},
    )

    def clean_url(self) -> str:
        """http and https only: a link is shown to the teacher, who clicks it (J10)."""
        url = self.cleaned_data["url"].strip()
        if url and not safe_http_url(url):
            raise forms.ValidationError("Give a whole web address that begins with https:// or http://.")
        return url


class ScoreForm(forms.Form):
    """A teacher's score and comment for one person. `version` is the score's version that the teacher saw (0: none)."""

    points = forms.CharField(label="Points", required=False, max_length=20)
    comment = forms.CharField(label="Comment", required=False, max_length=COMMENT_LIMIT, strip=True)
    version = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)

    def clean_points(self) -> Decimal:
        """Points with a comma or a point before the decimals; over the maximum is allowed, below zero is not."""
        typed = self.cleaned_data["points"].strip().replace("\N{MINUS SIGN}", "-")
        if not typed:
            raise forms.ValidationError("Give the points.")
        if re.fullmatch(r"-\s*[\d.,]+", typed):
            raise forms.ValidationError("Points cannot be below 0.")
        if not _NUMBER.fullmatch(typed):
            raise forms.ValidationError(
                f"Give a number such as 7.5, with at most {_PLACES} decimals and below 10 million."
            )
        return Decimal(typed.replace(",", "."))

    def clean_version(self) -> int:
        return self.cleaned_data["version"] or 0


class CopyForm(forms.Form):
    """The code and name of a copy of a course; what is wrong with them `courses.copying` says."""

    code = forms.CharField(
        label="Code of the copy",
        help_text="Unique in the organization. It is also the copy's target id for constant URLs.",
        widget=forms.TextInput(
            attrs={"class": "form-control", "autocomplete": "off", "spellcheck": "false", "maxlength": 255}
        ),
        error_messages={"required": "Give the copy a code."},
    )
    name = forms.CharField(
        label="Name of the copy",
        help_text="What people see.",
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off", "maxlength": 255}),
        error_messages={"required": "Give the copy a name."},
    )


class SelectionForm(forms.Form):
    """The rows of the table that were ticked: `people`, ids as they came; what is no id is left out."""

    everyone = forms.BooleanField(required=False)

    def people(self) -> list[UUID]:
        found: list[UUID] = []
        for value in self.data.getlist("person"):  # type: ignore[attr-defined]
            with contextlib.suppress(ValueError):
                found.append(UUID(value))
        return found
