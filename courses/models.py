"""Courses and what is in them, who takes part, and where the LMS's own courses and links lead."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from organizations.identifiers import random_token, uuid7
from organizations.models import Deployment, Installation, LmsAccount, Organization, Person

code_validator = RegexValidator(
    r"^[^\s\x00-\x1f/](?:[^\x00-\x1f/]{0,253}[^\s\x00-\x1f/])?\Z", "Use at most 255 characters, without slashes."
)
slug_validator = RegexValidator(
    r"^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?\Z", "Use letters, digits, - and _ (at most 100)."
)


# What a frame in an LMS page can sensibly be, in pixels.
IFRAME_SIZE = (200, 4000)
iframe_size_validators = [MinValueValidator(IFRAME_SIZE[0]), MaxValueValidator(IFRAME_SIZE[1])]


class SendGrade(models.TextChoices):
    """When a score goes to the LMS (codio.md 1.8)."""

    GRADE_RELEASE = "GRADE_RELEASE", "When completed, graded and released"
    ALWAYS = "ALWAYS", "At every change of the score"
    CHANGED = "CHANGED", "When the percentage differs from the last one sent"


class Course(models.Model):
    """A course of one organization. Its code is also its target id for constant URLs."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="courses")
    code = models.CharField(max_length=255, validators=[code_validator])
    name = models.CharField(max_length=255)
    lti_enabled = models.BooleanField("enable LTI", default=True)
    constant_urls = models.BooleanField("constant URLs", default=False)
    course_copy = models.BooleanField("course copy at launch", default=False)
    enroll_only = models.BooleanField(
        "enroll to course only", default=False, help_text="Grades are not passed back to the LMS."
    )
    lms_course_url = models.URLField("course LMS URL", max_length=2000, blank=True)
    release_grades_automatically = models.BooleanField(default=False)
    send_grade = models.CharField(max_length=16, choices=SendGrade, default=SendGrade.GRADE_RELEASE)
    hide_not_started = models.BooleanField(
        "hide assignments that are not started", default=False, help_text="On the dashboards of students."
    )
    filter_learners_for_mentors = models.BooleanField(
        "filter learners for mentors", default=False, help_text="Mentors see only the learners the LMS names for them."
    )
    public_feedback_link = models.BooleanField(
        "public feedback link", default=False, help_text="Grades carry a link to the feedback that needs no sign-in."
    )
    # The size of the frame that deep linking asks the LMS for, in pixels (codio.md 1.4).
    iframe_width = models.PositiveIntegerField(default=1000, validators=iframe_size_validators)
    iframe_height = models.PositiveIntegerField(default=800, validators=iframe_size_validators)
    copied_from = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, editable=False, related_name="copies"
    )
    copied_at = models.DateTimeField(null=True, blank=True, editable=False)
    archived = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "code"], name="course_code_once"),
            models.CheckConstraint(condition=models.Q(send_grade__in=SendGrade.values), name="course_send_grade"),
            models.CheckConstraint(
                condition=models.Q(iframe_width__range=IFRAME_SIZE, iframe_height__range=IFRAME_SIZE),
                name="course_iframe_size",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class CourseAlias(models.Model):
    """Another name that LMSs have for a course: a target id or a sourcedid that an instructor confirmed (I1)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="course_aliases")
    course = models.ForeignKey(Course, models.CASCADE, related_name="aliases")
    value = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "organization"

    class Meta:
        verbose_name_plural = "course aliases"
        constraints = [models.UniqueConstraint(fields=["organization", "value"], name="course_alias_once")]

    def __str__(self) -> str:
        return self.value


class Module(models.Model):
    """A group of assignments in a course."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    course = models.ForeignKey(Course, models.CASCADE, related_name="modules")
    name = models.CharField(max_length=255)
    position = models.PositiveIntegerField(default=0)

    organization_path = "course__organization"

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["course", "name"], name="module_name_once")]

    def __str__(self) -> str:
        return self.name


class Assignment(models.Model):
    """Something to be done in a course, and to be graded in the LMS."""

    class Kind(models.TextChoices):
        PAGE = "page", "Page"
        LINK = "link", "Link to a content application"
        ROOM = "room", "Live session"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    course = models.ForeignKey(Course, models.CASCADE, related_name="assignments")
    module = models.ForeignKey(Module, models.SET_NULL, null=True, blank=True, related_name="assignments")
    slug = models.CharField(max_length=100, validators=[slug_validator])
    # The same in every copy of the course: what a constant URL names.
    constant_key = models.CharField(max_length=64, default=random_token, editable=False)
    title = models.CharField(max_length=255)
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.PAGE)
    points_possible = models.DecimalField(
        max_digits=9, decimal_places=2, default=Decimal(100), validators=[MinValueValidator(Decimal(0))]
    )
    body = models.TextField(blank=True, help_text="Markdown.")
    content_url = models.URLField("content URL", max_length=2000, blank=True)
    send_grade = models.CharField(max_length=16, choices=SendGrade, blank=True, help_text="Empty: as the course says.")
    enabled = models.BooleanField(default=True)
    opens_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    closes_at = models.DateTimeField(null=True, blank=True)
    position = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "course__organization"

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["course", "slug"], name="assignment_slug_once"),
            models.UniqueConstraint(fields=["course", "constant_key"], name="assignment_constant_key_once"),
            models.CheckConstraint(condition=models.Q(kind__in=["page", "link", "room"]), name="assignment_kind"),
            models.CheckConstraint(condition=models.Q(points_possible__gte=0), name="assignment_points"),
        ]
        indexes = [models.Index(fields=["constant_key"], name="assignment_by_constant_key")]

    def __str__(self) -> str:
        return self.title

    @property
    def effective_send_grade(self) -> str:
        """The assignment's own policy, else the course's."""
        return self.send_grade or self.course.send_grade

    def is_open(self) -> bool:
        """Whether work may be handed in now."""
        now = timezone.now()
        return (
            self.enabled
            and (self.opens_at is None or self.opens_at <= now)
            and (self.closes_at is None or now < self.closes_at)
        )


class Enrolment(models.Model):
    """A person in a course, with the role the LMS gave in the latest launch."""

    class Role(models.TextChoices):
        TEACHER = "teacher", "Teacher"
        MENTOR = "mentor", "Mentor"
        STUDENT = "student", "Student"

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        GONE = "gone", "Gone from the LMS course"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    course = models.ForeignKey(Course, models.CASCADE, related_name="enrolments")
    person = models.ForeignKey(Person, models.CASCADE, related_name="enrolments")
    role = models.CharField(max_length=16, choices=Role)
    state = models.CharField(max_length=16, choices=State, default=State.ACTIVE)
    last_launch_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "course__organization"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["course", "person"], name="enrolment_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=["teacher", "mentor", "student"]), name="enrolment_role"
            ),
            models.CheckConstraint(condition=models.Q(state__in=["active", "gone"]), name="enrolment_state"),
        ]

    def __str__(self) -> str:
        return f"{self.person} ({self.get_role_display()})"


class LmsCourse(models.Model):
    """(installation, LMS context id) → course. A launch without a context id belongs to the row with an empty one,
    which is never mapped to a course (A31)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="lms_courses")
    context_id = models.CharField(max_length=255, blank=True)
    course = models.ForeignKey(Course, models.SET_NULL, null=True, blank=True, related_name="lms_courses")
    title = models.CharField(max_length=1000, blank=True)
    label = models.CharField(max_length=255, blank=True)
    # Where the roster is read (NRPS), from the latest LTI 1.3 launch that said so, and when it last was.
    deployment = models.ForeignKey(Deployment, models.SET_NULL, null=True, blank=True, related_name="lms_courses")
    memberships_url = models.TextField(blank=True)
    roster_synced_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "installation__organization"

    class Meta:
        verbose_name = "LMS course"
        constraints = [models.UniqueConstraint(fields=["installation", "context_id"], name="lms_course_once")]

    def __str__(self) -> str:
        return self.title or self.label or self.context_id or "(no course)"


class ResourceLink(models.Model):
    """(LMS course, resource_link_id) → what it opens: an assignment, or the course itself."""

    class AddressKind(models.TextChoices):
        ANY = "any", "Nothing: what it shows is chosen"
        ASSIGNMENT = "assignment", "An assignment"
        CONSTANT = "constant", "An assignment, by its constant URL"
        ENROLL = "enroll", "The course, to enroll"
        ROOM = "room", "A live session's room"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    lms_course = models.ForeignKey(LmsCourse, models.CASCADE, related_name="resource_links")
    resource_link_id = models.CharField(max_length=255)
    assignment = models.ForeignKey(Assignment, models.SET_NULL, null=True, blank=True, related_name="resource_links")
    course = models.ForeignKey(Course, models.SET_NULL, null=True, blank=True, related_name="resource_links")
    title = models.CharField(max_length=1000, blank=True)
    # The link's gradebook column, as a launch named it or (then line_item_found) as we found or made it (AGS).
    line_item_url = models.TextField(blank=True)
    line_item_found = models.BooleanField(default=False, editable=False)
    # What its address in the LMS names, by the latest launch; "" where no launch has said so yet.
    address_kind = models.CharField(max_length=16, choices=AddressKind, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "lms_course__installation__organization"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["lms_course", "resource_link_id"], name="resource_link_once"),
            models.CheckConstraint(
                condition=models.Q(assignment__isnull=True) | models.Q(course__isnull=True),
                name="resource_link_opens_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.resource_link_id


class Participation(models.Model):
    """Somebody who came from an LMS course.

    Two LMS courses may open the same course of ours; a teacher of one is nobody in the other, and sees only whom their
    own LMS course sent (design §2 promise 4).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    lms_course = models.ForeignKey(LmsCourse, models.CASCADE, related_name="participations")
    person = models.ForeignKey(Person, models.CASCADE, related_name="participations")

    organization_path = "lms_course__installation__organization"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["lms_course", "person"], name="participation_once")]

    def __str__(self) -> str:
        return f"{self.person}: {self.lms_course}"


class RosterMember(models.Model):
    """Somebody in an LMS course's roster as it was last read (NRPS); who is no longer in it stays, inactive."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    lms_course = models.ForeignKey(LmsCourse, models.CASCADE, related_name="roster")
    account = models.ForeignKey(LmsAccount, models.CASCADE, related_name="rosters")
    roles = models.CharField(max_length=2000, blank=True)  # as sent, comma-separated
    is_active = models.BooleanField(default=True)

    organization_path = "lms_course__installation__organization"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["lms_course", "account"], name="roster_member_once")]

    def __str__(self) -> str:
        return f"{self.account}: {self.roles}"


class RosterSync(models.Model):
    """How the latest reading of an LMS course's roster went, and whether somebody waits for the next one.

    `asked` counts the wishes for a reading and `served` how many of them the latest reading was begun for: clocks of
    several machines would not tell for sure. `rest_until`: not before then, as the LMS asked, or since it refused.
    """

    class State(models.TextChoices):
        NEW = "new", "Not read yet"
        RUNNING = "running", "Being read"
        DONE = "done", "Read"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    lms_course = models.OneToOneField(LmsCourse, models.CASCADE, related_name="roster_sync")
    state = models.CharField(max_length=16, choices=State, default=State.NEW)
    asked = models.PositiveIntegerField(default=0)
    served = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    whole_at = models.DateTimeField(null=True, blank=True)  # when the whole roster was last read, not differences
    listed = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    returned = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    gone = models.PositiveIntegerField(default=0)
    reason_code = models.CharField(max_length=64, blank=True)
    explanation = models.TextField(blank=True)
    rest_until = models.DateTimeField(null=True, blank=True)
    differences_url = models.TextField(blank=True)

    organization_path = "lms_course__installation__organization"

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["new", "running", "done", "failed"]), name="roster_sync_state"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.lms_course}: {self.get_state_display()}"

    @property
    def is_under_way(self) -> bool:
        """Whether it is being read, or somebody waits for that."""
        return self.state == self.State.RUNNING or self.asked > self.served


class Submission(models.Model):
    """A person's work in a `page` assignment (and when they first opened an assignment of any kind)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    assignment = models.ForeignKey(Assignment, models.CASCADE, related_name="submissions")
    person = models.ForeignKey(Person, models.CASCADE, related_name="submissions")
    opened_at = models.DateTimeField(default=timezone.now)
    draft_text = models.TextField(blank=True)
    draft_url = models.CharField(max_length=2000, blank=True)
    draft_saved_at = models.DateTimeField(null=True, blank=True)
    text = models.TextField(blank=True)
    url = models.CharField(max_length=2000, blank=True)
    submitted_at = models.DateTimeField(null=True, blank=True)
    number = models.PositiveIntegerField(default=0)  # how often it was handed in

    organization_path = "assignment__course__organization"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["assignment", "person"], name="submission_once")]

    def __str__(self) -> str:
        return f"{self.person}: {self.assignment}"
