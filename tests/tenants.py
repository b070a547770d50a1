"""A whole tenant for isolation tests: one row of every kind, with names that occur nowhere else."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import Model
from django.utils import timezone

from courses.models import CourseAlias, Participation, RosterMember, RosterSync, Submission
from events.models import Attempt, Delivery, Event, Mail, SilentHost, WebhookEndpoint
from grades.models import GradeDigest, Score
from launches.models import Launch, LegacyClaim, Merge, MergeChange, Migration, MigrationChange, RefusalTally
from organizations.api_tokens import make_token
from organizations.identifiers import uuid7
from organizations.models import AnsweredRequest, LmsAccount, Membership, Organization, SignInLink, User
from organizations.tool_keys import make_tool_key
from recordings.models import AttendanceGrading, AttendanceScore, MeetingWebhook, RoomLink
from tests import factories

OUR_APPS = ("organizations", "events", "courses", "grades", "launches", "recordings")


@dataclass
class Tenant:
    """`rows` holds one object of each model; `names` what a foreign page must not contain."""

    marker: str
    owner: User
    teacher: User
    api_token: str
    rows: dict[type[Model], Any] = field(default_factory=dict)

    def row(self, model: type[Model]) -> Any:
        if model not in self.rows:
            raise AssertionError(f"tests/tenants.py makes no {model.__name__}: add one, so that it is guarded")
        return self.rows[model]

    @property
    def organization(self) -> Organization:
        return self.row(Organization)

    @property
    def secrets(self) -> list[str]:
        """Texts that stand in no page at all."""
        key = self.rows[apps.get_model("organizations", "LtiKey")]
        return [
            key.secret,
            key.previous_secret,
            self.api_token,
            f"{self.marker}-webhook-secret",
            f"{self.marker}-meeting-secret",
            f"{self.marker}-sourcedid",
            f"{self.marker}-nonce",
        ]

    @property
    def traces(self) -> list[str]:
        """Ids, and names longer than the bare marker, which a page may repeat from the query it was asked."""
        ids = [str(row.pk) for row in self.rows.values() if isinstance(row.pk, UUID)]
        return [*ids, *(f"{self.marker} {what}" for what in NAMED), self.owner.email, self.teacher.email, *self.secrets]

    def state(self) -> dict[str, Any]:
        """Everything this tenant's rows hold, to see that nobody else changed it."""
        return {
            model._meta.label: list(model._default_manager.filter(pk=row.pk).values())
            for model, row in self.rows.items()
        }


NAMED = (
    "Organization",
    "LMS",
    "Person",
    "Course",
    "alias",
    "Module",
    "Assignment",
    "Link",
    "LMS course",
    "token",
    "host",
    "client",
    "deployment",
    "invite",
    "Owner",
    "Teacher",
    "server",
    "Room",
    "session",
    "guest",
    "Recording",
)


def make_tenant(marker: str) -> Tenant:
    """An organization with an owner, a teacher, and one row of everything."""
    organization: Any = factories.OrganizationFactory(slug=marker.lower(), name=f"{marker} Organization")
    owner: Any = factories.UserFactory(email=f"{marker.lower()}-owner@example.org", name=f"{marker} Owner")
    teacher: Any = factories.UserFactory(email=f"{marker.lower()}-teacher@example.org", name=f"{marker} Teacher")
    membership: Any = factories.MembershipFactory(organization=organization, user=owner)
    factories.MembershipFactory(organization=organization, user=teacher, role=Membership.Role.TEACHER)
    api_token, token = make_token(organization, f"{marker} token")
    tenant = Tenant(marker, owner, teacher, token)
    installation: Any = factories.InstallationFactory(
        organization=organization, name=f"{marker} LMS", pending_service_hosts=[f"{marker} host"]
    )
    key: Any = factories.LtiKeyFactory(
        installation=installation,
        secret=f"{marker}-secret-of-the-key",
        previous_secret=f"{marker}-previous-secret",
        previous_secret_expires_at=timezone.now() + timedelta(days=1),
    )
    registration: Any = factories.RegistrationFactory(
        installation=installation, issuer=f"https://{marker}.example", client_id=f"{marker} client"
    )
    deployment: Any = factories.DeploymentFactory(registration=registration, deployment_id=f"{marker} deployment")
    invite: Any = factories.RegistrationInviteFactory(organization=organization, name=f"{marker} invite")
    person: Any = factories.PersonFactory(organization=organization, name=f"{marker} Person")
    course: Any = factories.CourseFactory(organization=organization, name=f"{marker} Course")
    module = course.modules.create(name=f"{marker} Module")
    assignment: Any = factories.AssignmentFactory(course=course, module=module, title=f"{marker} Assignment")
    lms_course: Any = factories.LmsCourseFactory(installation=installation, course=course, title=f"{marker} LMS course")
    link: Any = factories.ResourceLinkFactory(lms_course=lms_course, assignment=assignment, title=f"{marker} Link")
    cell: Any = factories.GradebookCellFactory(
        assignment=assignment,
        installation=installation,
        person=person,
        resource_link=link,
        lti_key=key,
        result_sourcedid=f"{marker}-sourcedid",
    )
    account = LmsAccount.objects.create(installation=installation, person=person, lms_user_id=f"{marker}-user")
    score = Score.objects.create(assignment=assignment, person=person, points=7)
    delivery = Delivery.objects.create(
        organization=organization,
        kind=Delivery.Kind.GRADE,
        target_id=cell.pk,
        source_id=score.pk,
        sequence=1,
        host=f"{marker} host",
        give_up_at=timezone.now() + timedelta(days=3),
        due_at=timezone.now() + timedelta(hours=1),
        payload={"sourcedid": f"{marker}-sourcedid"},
    )
    launch = Launch.objects.create(
        organization=organization,
        installation=installation,
        lti_key=key,
        credential=key.pk,
        nonce=f"{marker}-nonce",
        person=person,
        role="student",
        course=course,
        assignment=assignment,
        resource_link=link,
        browser="0" * 64,
    )
    migration = Migration.objects.create(installation=installation, origin="owner", words=f"{marker} Migration")
    merge = Merge.objects.create(
        organization=organization,
        kept_person=person.pk,
        other_person=uuid7(),
        kept_words=f"{marker} Person",
        other_words=f"{marker} Person by another LMS",
    )
    made = [
        organization,
        owner,
        membership,
        api_token,
        installation,
        key,
        registration,
        deployment,
        invite,
        person,
        account,
        SignInLink.objects.create(
            person=person,
            email=f"{marker.lower()}-person@example.org",
            hash=f"{marker}-hash",
            expires_at=timezone.now() + timedelta(days=1),
        ),
        make_tool_key(organization),
        course,
        CourseAlias.objects.create(organization=organization, course=course, value=f"{marker} alias"),
        module,
        assignment,
        factories.EnrolmentFactory(course=course, person=person),
        lms_course,
        link,
        Participation.objects.create(lms_course=lms_course, person=person),
        RosterMember.objects.create(lms_course=lms_course, account=account, roles="Learner"),
        RosterSync.objects.create(lms_course=lms_course, state=RosterSync.State.DONE),
        Submission.objects.create(assignment=assignment, person=person, text=f"{marker} work"),
        cell,
        score,
        AnsweredRequest.objects.create(api_token=api_token, key=f"{marker}-key", path="/api/v1/", digest="0" * 64),
        delivery,
        SilentHost.objects.create(organization=organization, host=f"{marker}.example", unanswered=1),
        Attempt.objects.create(delivery=delivery, number=1),
        WebhookEndpoint.objects.create(
            organization=organization,
            url=f"https://{marker.lower()}.hooks.example/in",
            event_types=["*"],
            secret=f"{marker}-webhook-secret",
        ),
        Event.objects.create(organization=organization, type="score.changed", actor={"name": f"{marker} Owner"}),
        Mail.objects.create(
            organization=organization,
            kind=Mail.Kind.GRADE_DIGEST,
            once=f"{marker} mail",
            about=uuid7(),
            address=owner.email,
            subject=f"{marker} mail",
            body=f"{marker} mail",
        ),
        GradeDigest.objects.create(
            organization=organization, day=timezone.now().date(), since=timezone.now(), through=timezone.now()
        ),
        launch,
        LegacyClaim.objects.create(
            deployment=deployment, kind="person", lms_id=f"{marker}-new-user", old_id=f"{marker}-user", digest="0" * 64
        ),
        migration,
        MigrationChange.objects.create(
            migration=migration,
            position=0,
            kind="created",
            model="organizations.lmsaccount",
            after={"person_id": str(person.pk)},
        ),
        merge,
        MergeChange.objects.create(merge=merge, position=0, kind="updated", model="launches.launch"),
        RefusalTally.objects.create(
            organization=organization, credential=key.pk, minute=timezone.now().replace(second=0, microsecond=0)
        ),
    ]
    made += _live_sessions(marker, organization, course, assignment, link, person)
    tenant.rows = {type(row): row for row in made}
    # The owner is what tells of users; the teacher's membership has rows of the same kinds.
    return tenant


def _live_sessions(marker: str, organization: Any, course: Any, assignment: Any, link: Any, person: Any) -> list[Any]:
    server: Any = factories.MeetingServerFactory(
        organization=organization,
        name=f"{marker} server",
        url=f"https://{marker.lower()}.meet.example",
        api_secret=f"{marker}-meeting-secret",
    )
    room: Any = factories.RoomFactory(course=course, server=server, title=f"{marker} Room")
    meeting: Any = factories.MeetingFactory(
        room=room, server=server, session_id=f"{marker} session", started_by=person, ended_at=None
    )
    attendance: Any = factories.AttendanceFactory(meeting=meeting, person=person)
    return [
        server,
        room,
        meeting,
        attendance,
        attendance.intervals.create(connection_id=f"{marker} guest", joined_at=timezone.now()),
        factories.RecordingFactory(room=room, meeting=meeting, server=server, title=f"{marker} Recording"),
        RoomLink.objects.create(resource_link=link, room=room),
        AttendanceGrading.objects.create(assignment=assignment, room=room),
        AttendanceScore.objects.create(score=Score.objects.get(assignment=assignment, person=person), points=7),
        MeetingWebhook.objects.create(server=server, event_id=f"{marker} session", type="room_started"),
    ]
