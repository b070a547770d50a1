"""People in the pages of a launch, for tests: each in a browser of their own."""

import re
from typing import Any
from uuid import UUID

from django.conf import settings
from django.test import Client
from django.urls import reverse

from courses.addresses import assignment_url
from courses.models import Assignment, LmsCourse, Participation
from launches.browser import COOKIE, Browser
from launches.models import Launch
from organizations.models import LtiKey, Person
from tests.launching import STUDENT, TEACHER, launch, launch_id_of


class Visitor:
    """Somebody who launched: opens and posts the pages of that launch."""

    def __init__(self, key: LtiKey, path: str, **parameters: str) -> None:
        self.client = Client()
        self.launch_id = UUID(launch_id_of(launch(self.client, path, key, parameters)))
        self.token = Browser(self.client.cookies[COOKIE].value, returned=True).token(self.launch_id)

    @property
    def launch(self) -> Launch:
        return Launch.objects.get(pk=self.launch_id)

    @property
    def person(self) -> Person:
        person = self.launch.person
        assert person is not None
        return person

    def url(self, name: str, *args: Any) -> str:
        return reverse(name, args=[self.launch_id, *args])

    def get(self, name: str, *args: Any, htmx: bool = False, **query: str) -> Any:
        return self.client.get(self.url(name, *args), query, headers={"HX-Request": "true"} if htmx else {})

    def post(
        self, name: str, /, *args: Any, htmx: bool = False, token: str | None = None, query: str = "", **data: Any
    ) -> Any:
        data["launch_token"] = self.token if token is None else token
        headers = {"HX-Request": "true"} if htmx else {}
        return self.client.post(self.url(name, *args) + query, data, headers=headers)


def path_of(assignment: Assignment) -> str:
    return assignment_url(assignment).removeprefix(settings.BASE_URL)


def came_from_the_course(key: LtiKey, person: Person) -> None:
    """The person once came from the LMS course of `tests.launching`, as a student."""
    lms_course, _ = LmsCourse.objects.get_or_create(installation=key.installation, context_id=STUDENT["context_id"])
    Participation.objects.get_or_create(lms_course=lms_course, person=person)


def student(key: LtiKey, assignment: Assignment, **changes: str) -> Visitor:
    return Visitor(key, path_of(assignment), **{**STUDENT, **changes})


def teacher(key: LtiKey, assignment: Assignment, **changes: str) -> Visitor:
    return Visitor(key, path_of(assignment), **{**TEACHER, **changes})


def mentor(key: LtiKey, assignment: Assignment, *learners: str) -> Visitor:
    changes = {"user_id": "mentor-1", "roles": "Mentor", "lis_person_name_full": "Mina Mentor"}
    return teacher(key, assignment, **changes, role_scope_mentor=",".join(learners))


def text_of(response: Any) -> str:
    """The words of a page, without markup and with single spaces."""
    body = re.sub(r"(?s)<(script|style).*?</\1>", " ", response.content.decode())
    return " ".join(re.sub(r"(?s)<[^>]*>", " ", body).split())
