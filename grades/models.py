"""What a person has in an assignment, and where the LMS wants it."""

from django.db import models
from django.utils import timezone

from courses.models import Assignment, ResourceLink
from organizations.identifiers import uuid7
from organizations.models import Deployment, Installation, LtiKey, Organization, Person


class Score(models.Model):
    """What a person has in an assignment. Every change is a new version; deliveries name the version they carry."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    assignment = models.ForeignKey(Assignment, models.CASCADE, related_name="scores")
    person = models.ForeignKey(Person, models.CASCADE, related_name="scores")
    points = models.DecimalField(max_digits=9, decimal_places=2)
    extra_credit = models.DecimalField(max_digits=9, decimal_places=2, default=0)  # never sent
    comment = models.TextField(blank=True)
    completed = models.BooleanField(default=True)
    graded = models.BooleanField(default=True)
    released = models.BooleanField(default=True)
    version = models.PositiveBigIntegerField(default=1)
    updated_at = models.DateTimeField(default=timezone.now)
    released_at = models.DateTimeField(null=True, blank=True)

    organization_path = "assignment__course__organization"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["assignment", "person"], name="score_once"),
            models.CheckConstraint(condition=models.Q(points__gte=0), name="score_points"),
            models.CheckConstraint(condition=models.Q(extra_credit__gte=0), name="score_extra_credit"),
        ]

    def __str__(self) -> str:
        return f"{self.points:f}"


class GradebookCell(models.Model):
    """Where the LMS wants a person's grade for one of its links.

    LTI 1.1: the latest outcome service URL and sourcedid (A34). LTI 1.3: the link's line item and the LMS user id.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    resource_link = models.ForeignKey(ResourceLink, models.CASCADE, related_name="cells")
    person = models.ForeignKey(Person, models.CASCADE, related_name="cells")
    # The assignment that the link opened in the latest launch; a link that is mapped anew takes its cell along.
    assignment = models.ForeignKey(Assignment, models.CASCADE, related_name="cells")
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="cells")
    lti_key = models.ForeignKey(LtiKey, models.SET_NULL, null=True, related_name="cells")
    outcome_service_url = models.TextField(blank=True)
    result_sourcedid = models.TextField(blank=True)
    outcome_extensions = models.JSONField(default=dict)
    # LTI 1.3 (then deployment is set): where the link's line item is or may be made, and the person's id there.
    deployment = models.ForeignKey(Deployment, models.SET_NULL, null=True, blank=True, related_name="cells")
    lms_user_id = models.CharField(max_length=255, blank=True)
    line_items_url = models.TextField(blank=True)
    scopes = models.JSONField(default=list)
    last_score_at = models.DateTimeField(null=True, blank=True)  # the last timestamp sent: strictly increasing (F8)
    # From custom send_grade of the latest launch; it outranks the assignment's and the course's policy.
    send_grade = models.CharField(max_length=16, blank=True)
    # The last one sent, as a fraction; over LTI 1.3 it may be far more than 1.
    last_percentage = models.DecimalField(max_digits=20, decimal_places=10, null=True, blank=True)
    # How often the work had been handed in when Canvas was last told of it (F12).
    submission_sent = models.PositiveIntegerField(null=True, blank=True)
    updated_at = models.DateTimeField(default=timezone.now)

    organization_path = "installation__organization"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["resource_link", "person"], name="gradebook_cell_once")]
        indexes = [models.Index(fields=["assignment", "person"], name="cell_by_assignment_person")]

    def __str__(self) -> str:
        return f"{self.person}: {self.resource_link}"


class GradeDigest(models.Model):
    """One day's look at the grades that did not arrive: whoever writes the row mails the digest, and nobody else.

    `day` is a day in the organization's time zone; the digest tells of what failed from `since` to `through`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="grade_digests")
    day = models.DateField()
    since = models.DateTimeField()
    through = models.DateTimeField()
    failures = models.PositiveIntegerField(default=0)  # deliveries that had failed, and had not arrived since
    mails = models.PositiveIntegerField(default=0)

    organization_path = "organization"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "day"], name="grade_digest_once_a_day")]

    def __str__(self) -> str:
        return f"{self.day:%d %b %Y}"
