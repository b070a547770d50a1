"""Meeting servers, the rooms on them, and what happened in those: meetings, attendance, recordings, webhooks."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from courses.models import Assignment, Course, ResourceLink, slug_validator
from grades.models import Score
from organizations.encryption import EncryptedTextField
from organizations.identifiers import random_token, uuid7
from organizations.models import Organization, Person

MEGABYTE = 1_000_000


def new_room_id() -> str:
    """A room's name on its server: ours alone, so that rooms of two tenants on one server never meet (design §5).

    43 characters of ``[A-Za-z0-9_-]`` behind a letter: plugNmeet takes at most 64, and none that begins with ``user_``.
    """
    return f"r{random_token()}"


class MeetingServer(models.Model):
    """A server on which an organization's live sessions run, with the key of its API. No LTI key is ever one of these.

    `checked_at` and `problem` say how the last connection test went; an empty problem: well.
    """

    class Kind(models.TextChoices):
        PLUGNMEET = "plugnmeet", "plugNmeet"
        SANDBOX = "sandbox", "Sandbox, for trying out"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="meeting_servers")
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.PLUGNMEET)
    url = models.URLField("URL", max_length=2000)
    api_key = models.CharField("API key", max_length=255)
    api_secret = EncryptedTextField("API secret")
    enabled = models.BooleanField(default=True, help_text="Off: no session starts there; what was recorded stays.")
    is_default = models.BooleanField("default", default=False, help_text="Rooms that name no server use this one.")
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    problem = models.CharField(max_length=500, blank=True, editable=False)
    # When it was last asked what webhooks missed, and when all of its list of recordings was last read.
    reconciled_at = models.DateTimeField(null=True, blank=True, editable=False)
    listed_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="meeting_server_name_once"),
            models.UniqueConstraint(
                fields=["organization"], condition=models.Q(is_default=True), name="meeting_server_one_default"
            ),
            models.CheckConstraint(condition=models.Q(kind__in=["plugnmeet", "sandbox"]), name="meeting_server_kind"),
        ]

    def __str__(self) -> str:
        return self.name


class Room(models.Model):
    """Where live sessions of a course take place. `room_id` names it on the server; a copy of the room has its own.

    `settings` are what the teacher set, under the names of the custom parameters (recordings/room_settings.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    course = models.ForeignKey(Course, models.CASCADE, related_name="rooms")
    server = models.ForeignKey(
        MeetingServer, models.SET_NULL, null=True, blank=True, related_name="rooms", verbose_name="meeting server"
    )
    slug = models.CharField(max_length=100, validators=[slug_validator])
    title = models.CharField(max_length=255)
    room_id = models.CharField(max_length=64, unique=True, default=new_room_id, editable=False)
    settings = models.JSONField(default=dict, blank=True)
    enabled = models.BooleanField(default=True)
    position = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "course__organization"

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["course", "slug"], name="room_slug_once")]

    def __str__(self) -> str:
        return self.title


class RoomLink(models.Model):
    """A resource link of an LMS that opens a room. The link itself then names neither an assignment nor a course."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    resource_link = models.OneToOneField(ResourceLink, models.CASCADE, related_name="room_link")
    room = models.ForeignKey(Room, models.CASCADE, related_name="links")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "room__course__organization"

    def __str__(self) -> str:
        return f"{self.resource_link}: {self.room}"


class AttendanceGrading(models.Model):
    """The room of an assignment of kind `room`, and how attendance there becomes its score.

    `required` is in minutes or in percent of the meeting's length, as `measure` says: who reaches it has all points;
    who does not has none, or with `proportional` a part of them. `span` says which meetings count.
    """

    class Measure(models.TextChoices):
        NONE = "none", "Attendance is not graded"
        MINUTES = "minutes", "Minutes in the session"
        SHARE = "share", "Share of the session, in percent"

    class Span(models.TextChoices):
        BEST = "best", "The best meeting"
        ALL = "all", "All meetings together"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    assignment = models.OneToOneField(Assignment, models.CASCADE, related_name="attendance_grading")
    room = models.ForeignKey(Room, models.CASCADE, related_name="gradings")
    measure = models.CharField(max_length=16, choices=Measure, default=Measure.NONE)
    required = models.DecimalField(
        max_digits=7,
        decimal_places=2,
        default=Decimal(1),
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(Decimal("99999"))],
    )
    proportional = models.BooleanField(default=False)
    span = models.CharField(max_length=16, choices=Span, default=Span.BEST)

    organization_path = "assignment__course__organization"

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(measure__in=["none", "minutes", "share"]), name="attendance_grading_measure"
            ),
            models.CheckConstraint(condition=models.Q(span__in=["best", "all"]), name="attendance_grading_span"),
            models.CheckConstraint(condition=models.Q(required__gt=0), name="attendance_grading_required"),
            models.CheckConstraint(
                condition=~models.Q(measure="share") | models.Q(required__lte=100), name="attendance_grading_percent"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.assignment}: {self.get_measure_display()}"


class AttendanceScore(models.Model):
    """The points that attendance gave a score last: where the score has others, somebody graded by hand, and that
    stays."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    score = models.OneToOneField(Score, models.CASCADE, related_name="attendance_score")
    points = models.DecimalField(max_digits=9, decimal_places=2)

    organization_path = "score__assignment__course__organization"

    def __str__(self) -> str:
        return f"{self.score}: {self.points}"


class Meeting(models.Model):
    """One session in a room, from its creation on the server to its end.

    A room has one running meeting at most; the server's own id of the session tells two of them apart. `settings` is
    what was asked of the server, `refused` what could not be taken over from custom parameters ({name, given, reason}),
    and `differences` what the server applied otherwise ({name, asked, applied}).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    room = models.ForeignKey(Room, models.CASCADE, related_name="meetings")
    server = models.ForeignKey(MeetingServer, models.SET_NULL, null=True, blank=True, related_name="meetings")
    session_id = models.CharField(max_length=128)
    started_by = models.ForeignKey(Person, models.SET_NULL, null=True, blank=True, related_name="meetings_started")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    refused = models.JSONField(default=list, blank=True)
    differences = models.JSONField(default=list, blank=True)
    # The server's file of who was there and when; taken in once. See recordings/meeting_server.py.
    analytics_id = models.CharField(max_length=255, blank=True)
    analytics_taken_at = models.DateTimeField(null=True, blank=True)
    reconciled_at = models.DateTimeField(null=True, blank=True)  # when the server was last asked about it
    # Since when its attendance waits to become scores (recordings/attendance_grades.py).
    grading_due_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "room__course__organization"

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["server", "session_id"], name="meeting_session_once"),
            models.UniqueConstraint(
                fields=["room"], condition=models.Q(ended_at__isnull=True), name="meeting_one_running_per_room"
            ),
            models.CheckConstraint(condition=~models.Q(session_id=""), name="meeting_has_a_session"),
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True) | models.Q(ended_at__gte=models.F("started_at")),
                name="meeting_ends_after_it_starts",
            ),
        ]
        indexes = [
            models.Index(fields=["reconciled_at"], condition=models.Q(ended_at__isnull=True), name="meeting_running"),
            models.Index(
                fields=["grading_due_at"],
                condition=models.Q(grading_due_at__isnull=False),
                name="meeting_grading_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.room}, {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def is_running(self) -> bool:
        return self.ended_at is None


class Attendance(models.Model):
    """Somebody in a meeting, by the id that the server knows them by. Without a person: a guest of the server's own.

    `seconds`, `joined_at` and `left_at` sum up the intervals, which may overlap (two devices): kept for lists.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    meeting = models.ForeignKey(Meeting, models.CASCADE, related_name="attendances")
    person = models.ForeignKey(Person, models.CASCADE, null=True, blank=True, related_name="attendances")
    identity = models.CharField(max_length=255)
    name = models.CharField(max_length=255, blank=True)  # of a guest only: people have theirs
    is_moderator = models.BooleanField(default=False)
    seconds = models.PositiveIntegerField(default=0)
    joined_at = models.DateTimeField(null=True, blank=True)
    left_at = models.DateTimeField(null=True, blank=True)  # null while somebody is in

    organization_path = "meeting__room__course__organization"

    class Meta:
        verbose_name_plural = "attendance"
        constraints = [
            models.UniqueConstraint(fields=["meeting", "identity"], name="attendance_once"),
            models.CheckConstraint(condition=~models.Q(identity=""), name="attendance_has_an_identity"),
            models.CheckConstraint(
                condition=models.Q(person__isnull=True) | models.Q(name=""), name="attendance_name_of_guests_only"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person or self.name or self.identity}: {self.meeting}"


class AttendanceInterval(models.Model):
    """One stay in a meeting: from a join to a leave.

    `connection_id` is the server's id of the stay, so that a webhook that comes twice, or the leave before the join,
    still makes one row; what the analytics file adds is called `analytics-<n>`. One of the two times may be unknown.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    attendance = models.ForeignKey(Attendance, models.CASCADE, related_name="intervals")
    connection_id = models.CharField(max_length=255)
    joined_at = models.DateTimeField(null=True, blank=True)
    left_at = models.DateTimeField(null=True, blank=True)

    organization_path = "attendance__meeting__room__course__organization"

    class Meta:
        ordering = ["joined_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["attendance", "connection_id"], name="attendance_interval_once"),
            models.CheckConstraint(
                condition=models.Q(joined_at__isnull=False) | models.Q(left_at__isnull=False),
                name="attendance_interval_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.joined_at} to {self.left_at}"


class Recording(models.Model):
    """A recording on a meeting server. It stays with the room it was made in; a copied course has none of it.

    Titles and deletions are ours first: `title_is_sent` and the state say whether the server has been told, `due_at`
    when it is told again, `failures` how often in a row that failed, and `problem` why, in words.
    """

    class State(models.TextChoices):
        AVAILABLE = "available", "Available"
        DELETING = "deleting", "Being deleted"
        DELETED = "deleted", "Deleted"
        GONE = "gone", "No longer on the server"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    room = models.ForeignKey(Room, models.CASCADE, related_name="recordings")
    meeting = models.ForeignKey(Meeting, models.SET_NULL, null=True, blank=True, related_name="recordings")
    server = models.ForeignKey(MeetingServer, models.SET_NULL, null=True, blank=True, related_name="recordings")
    record_id = models.CharField(max_length=255)
    title = models.CharField(max_length=255, blank=True)
    title_is_sent = models.BooleanField(default=True)
    published = models.BooleanField(default=False)
    seconds = models.PositiveIntegerField("length in seconds", null=True, blank=True)
    size = models.PositiveBigIntegerField("size in bytes", null=True, blank=True)
    recorded_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=16, choices=State, default=State.AVAILABLE)
    due_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=500, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    # Who asked for the deletion and why, for the event that is written once the file is gone: {actor, reason}.
    deletion = models.JSONField(default=dict, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "room__course__organization"

    class Meta:
        ordering = ["-recorded_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["server", "record_id"], name="recording_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=["available", "deleting", "deleted", "gone"]), name="recording_state"
            ),
            models.CheckConstraint(
                condition=models.Q(published=False) | models.Q(state="available"),
                name="recording_published_is_available",
            ),
            models.CheckConstraint(
                condition=models.Q(state="deleted", deleted_at__isnull=False)
                | (~models.Q(state="deleted") & models.Q(deleted_at__isnull=True)),
                name="recording_deleted_has_a_time",
            ),
        ]
        indexes = [
            models.Index(fields=["room", "state", "recorded_at"], name="recording_by_room"),
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="recording_due"),
        ]

    def __str__(self) -> str:
        return self.title or f"{self.room}, {self.recorded_at:%Y-%m-%d %H:%M}"

    @property
    def size_mb(self) -> float | None:
        """In megabytes (10^6 bytes), two decimals, as meeting servers give it."""
        return None if self.size is None else round(self.size / MEGABYTE, 2)


class MeetingWebhook(models.Model):
    """A webhook as it came from a meeting server, once for each of its ids; a worker makes of it what follows.

    The payload names people, so it is emptied once it was processed; what is not understood is kept as the type alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    server = models.ForeignKey(MeetingServer, models.CASCADE, related_name="webhooks")
    event_id = models.CharField(max_length=128)
    type = models.CharField(max_length=64)
    room_id = models.CharField(max_length=128, blank=True)
    session_id = models.CharField(max_length=128, blank=True)
    payload = models.JSONField(default=dict, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)  # by the server's clock
    received_at = models.DateTimeField(default=timezone.now)
    processed_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=500, blank=True)

    organization_path = "server__organization"

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["server", "event_id"], name="meeting_webhook_once"),
            models.CheckConstraint(condition=~models.Q(event_id=""), name="meeting_webhook_has_an_id"),
        ]
        indexes = [
            models.Index(fields=["id"], condition=models.Q(processed_at__isnull=True), name="meeting_webhook_waiting"),
        ]

    def __str__(self) -> str:
        return self.type
