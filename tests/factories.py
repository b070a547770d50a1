"""Rows for tests: each factory makes what it needs below it."""

import hashlib
from datetime import timedelta

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from courses import models as courses
from grades import models as grades
from organizations import models as organizations
from recordings import models as recordings


class UserFactory(DjangoModelFactory):
    class Meta:
        model = organizations.User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda n: f"user{n}@example.org")
    name = factory.Sequence(lambda n: f"User {n}")
    password = factory.django.Password("correct horse battery")


class OrganizationFactory(DjangoModelFactory):
    class Meta:
        model = organizations.Organization

    slug = factory.Sequence(lambda n: f"organization-{n}")
    name = factory.Sequence(lambda n: f"Organization {n}")


class MembershipFactory(DjangoModelFactory):
    class Meta:
        model = organizations.Membership

    organization = factory.SubFactory(OrganizationFactory)
    user = factory.SubFactory(UserFactory)
    role = organizations.Membership.Role.OWNER


class InstallationFactory(DjangoModelFactory):
    class Meta:
        model = organizations.Installation

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"Moodle {n}")


class LtiKeyFactory(DjangoModelFactory):
    class Meta:
        model = organizations.LtiKey

    installation = factory.SubFactory(InstallationFactory)


class RegistrationFactory(DjangoModelFactory):
    class Meta:
        model = organizations.Registration

    installation = factory.SubFactory(InstallationFactory)
    organization = factory.SelfAttribute("installation.organization")
    issuer = "https://lms.example"
    client_id = factory.Sequence(lambda n: f"client-{n}")
    auth_login_url = "https://lms.example/mod/lti/auth.php"
    token_url = "https://lms.example/mod/lti/token.php"
    jwks_url = "https://lms.example/mod/lti/certs.php"


class DeploymentFactory(DjangoModelFactory):
    class Meta:
        model = organizations.Deployment

    registration = factory.SubFactory(RegistrationFactory)
    deployment_id = factory.Sequence(lambda n: f"deployment-{n}")
    installation = factory.SelfAttribute("registration.installation")


class RegistrationInviteFactory(DjangoModelFactory):
    class Meta:
        model = organizations.RegistrationInvite

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"Invite {n}")
    hash = factory.Sequence(lambda n: hashlib.sha256(f"invite-{n}".encode()).hexdigest())
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=7))


class PersonFactory(DjangoModelFactory):
    class Meta:
        model = organizations.Person

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"Person {n}")
    email = factory.Sequence(lambda n: f"person{n}@example.org")


class CourseFactory(DjangoModelFactory):
    class Meta:
        model = courses.Course

    organization = factory.SubFactory(OrganizationFactory)
    code = factory.Sequence(lambda n: f"course-{n}")
    name = factory.Sequence(lambda n: f"Course {n}")


class AssignmentFactory(DjangoModelFactory):
    class Meta:
        model = courses.Assignment

    course = factory.SubFactory(CourseFactory)
    slug = factory.Sequence(lambda n: f"assignment-{n}")
    title = factory.Sequence(lambda n: f"Assignment {n}")
    points_possible = 10


class EnrolmentFactory(DjangoModelFactory):
    class Meta:
        model = courses.Enrolment

    course = factory.SubFactory(CourseFactory)
    person = factory.SubFactory(PersonFactory, organization=factory.SelfAttribute("..course.organization"))
    role = courses.Enrolment.Role.STUDENT


class LmsCourseFactory(DjangoModelFactory):
    class Meta:
        model = courses.LmsCourse

    installation = factory.SubFactory(InstallationFactory)
    # Not as the contexts of tests.launching are called.
    context_id = factory.Sequence(lambda n: f"made-context-{n}")


class ResourceLinkFactory(DjangoModelFactory):
    class Meta:
        model = courses.ResourceLink

    lms_course = factory.SubFactory(LmsCourseFactory)
    resource_link_id = factory.Sequence(lambda n: f"link-{n}")


class GradebookCellFactory(DjangoModelFactory):
    """A cell with its whole tenant: assignment, person, installation and key belong to one organization."""

    class Meta:
        model = grades.GradebookCell

    assignment = factory.SubFactory(AssignmentFactory)
    installation = factory.SubFactory(
        InstallationFactory, organization=factory.SelfAttribute("..assignment.course.organization")
    )
    person = factory.SubFactory(PersonFactory, organization=factory.SelfAttribute("..assignment.course.organization"))
    resource_link = factory.SubFactory(
        ResourceLinkFactory,
        lms_course=factory.SubFactory(LmsCourseFactory, installation=factory.SelfAttribute("...installation")),
        assignment=factory.SelfAttribute("..assignment"),
    )
    lti_key = factory.SubFactory(LtiKeyFactory, installation=factory.SelfAttribute("..installation"))
    outcome_service_url = "https://lms.example/outcomes"
    result_sourcedid = factory.Sequence(lambda n: f"sourcedid-{n}")
    updated_at = factory.LazyFunction(timezone.now)


class MeetingServerFactory(DjangoModelFactory):
    class Meta:
        model = recordings.MeetingServer

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"Meeting server {n}")
    url = "https://meet.example"
    api_key = "meeting-key"
    api_secret = "meeting-secret-that-is-long-enough"


class RoomFactory(DjangoModelFactory):
    """A room with its whole tenant: its server is its course's organization's."""

    class Meta:
        model = recordings.Room

    course = factory.SubFactory(CourseFactory)
    server = factory.SubFactory(MeetingServerFactory, organization=factory.SelfAttribute("..course.organization"))
    slug = factory.Sequence(lambda n: f"room-{n}")
    title = factory.Sequence(lambda n: f"Room {n}")


class MeetingFactory(DjangoModelFactory):
    """A running meeting."""

    class Meta:
        model = recordings.Meeting

    room = factory.SubFactory(RoomFactory)
    server = factory.SelfAttribute("room.server")
    session_id = factory.Sequence(lambda n: f"session-{n}")


class AttendanceFactory(DjangoModelFactory):
    class Meta:
        model = recordings.Attendance

    meeting = factory.SubFactory(MeetingFactory)
    person = factory.SubFactory(PersonFactory, organization=factory.SelfAttribute("..meeting.room.course.organization"))
    identity = factory.LazyAttribute(lambda row: str(row.person.pk))


class RecordingFactory(DjangoModelFactory):
    class Meta:
        model = recordings.Recording

    room = factory.SubFactory(RoomFactory)
    server = factory.SelfAttribute("room.server")
    record_id = factory.Sequence(lambda n: f"session-{n}-1700000000000")
