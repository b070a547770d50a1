"""The launch: one arrival, or one refusal, as a row."""

import base64
from uuid import UUID

from django.db import models
from django.utils import timezone

from courses.models import Assignment, Course, ResourceLink
from organizations.identifiers import uuid7
from organizations.models import Deployment, Installation, LtiKey, Organization, Person, User
from recordings.models import Room


class Launch(models.Model):
    """One arrival, or one refusal that a known credential made.

    The row is the nonce store: (credential, nonce) is unique, and it is inserted in the transaction of everything the
    launch changes, so a replay rolls back whole (A16, design §5). A refused launch is kept without a nonce.
    """

    ACCEPTED = "accepted"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="launches")
    # Few indexes: every launch pays for each of them, and these columns are only read through the organization.
    installation = models.ForeignKey(Installation, models.CASCADE, null=True, db_index=False, related_name="launches")
    lti_key = models.ForeignKey(LtiKey, models.SET_NULL, null=True, db_index=False, related_name="launches")
    deployment = models.ForeignKey(Deployment, models.SET_NULL, null=True, db_index=False, related_name="launches")
    credential = models.UUIDField()  # the LtiKey or (LTI 1.3) the registration
    nonce = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null: a refusal, which uses up no nonce
    at = models.DateTimeField(default=timezone.now)
    result = models.CharField(max_length=32, default=ACCEPTED)
    lti_version = models.CharField(max_length=8, default="1.1")
    message_type = models.CharField(max_length=64, blank=True)
    person = models.ForeignKey(Person, models.SET_NULL, null=True, related_name="launches")
    role = models.CharField(max_length=16, blank=True)
    roles = models.TextField(blank=True)  # as received
    course = models.ForeignKey(Course, models.SET_NULL, null=True, db_index=False, related_name="launches")
    assignment = models.ForeignKey(Assignment, models.SET_NULL, null=True, db_index=False, related_name="launches")
    room = models.ForeignKey(Room, models.SET_NULL, null=True, db_index=False, related_name="launches")
    # Its index is with the id, below: a link's latest launch is read for every link of a page.
    resource_link = models.ForeignKey(ResourceLink, models.SET_NULL, null=True, db_index=False, related_name="launches")
    custom = models.JSONField(default=dict)
    mentor_for = models.JSONField(default=list)  # role_scope_mentor: LMS user ids (A29)
    return_url = models.TextField(blank=True)  # verified; may carry a session key of the LMS: never shown, never logged
    document_target = models.CharField(max_length=16, blank=True)
    locale = models.CharField(max_length=35, blank=True)
    frame_origins = models.JSONField(default=list)
    # Whose submission a teacher came to review (submission review, LTI 1.3).
    for_person = models.ForeignKey(Person, models.SET_NULL, null=True, db_index=False, related_name="+")
    # What the LMS asked for when it opened the picker, and when it was answered: once (E8).
    selection = models.JSONField(null=True)
    answered_at = models.DateTimeField(null=True)
    # What the LMS said of its course where that decided nothing: an instructor is asked (launches/course_question.py).
    course_question = models.JSONField(null=True)
    # Who is really in front of the page, where the LMS says that somebody looks at another's work (I6): as received.
    actual_user = models.JSONField(default=dict)
    # SHA-256 of the browser cookie this launch was bound to; a page of the launch checks the pair.
    browser = models.CharField(max_length=64, blank=True)
    ticket_used_at = models.DateTimeField(null=True)
    # Of a refusal: which check, what was expected, what came (redacted), why, and the base string.
    refusal = models.JSONField(default=dict)

    organization_path = "organization"

    class Meta:
        verbose_name_plural = "launches"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["credential", "nonce"], name="launch_nonce_once")]
        indexes = [
            # With the result behind the id, so that the home page counts days without reading the rows.
            models.Index(fields=["organization", "id", "result"], name="launch_by_day"),
            models.Index(fields=["organization", "result", "id"], name="launch_by_result"),
            models.Index(fields=["resource_link", "id"], name="launch_by_link"),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        """What a person quotes and the launch log finds."""
        return reference_of(self.id)


def reference_of(launch_id: UUID) -> str:
    """Eight characters of base32 out of the id's random tail, as XXXX-XXXX."""
    text = base64.b32encode(launch_id.bytes[-5:]).decode()
    return f"{text[:4]}-{text[4:]}"


class RefusalTally(models.Model):
    """How many refusals of one credential in one minute were counted but not kept."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="refusal_tallies")
    credential = models.UUIDField()
    minute = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)

    organization_path = "organization"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["credential", "minute"], name="refusal_tally_once")]

    def __str__(self) -> str:
        return f"{self.count} refused at {self.minute:%H:%M}"


class LegacyClaim(models.Model):
    """What an LTI 1.3 launch said an id was called over LTI 1.1 (D37, D39): remembered, and believed only when it was
    signed or the owner applies it.

    `consumer_key` is the key that the LMS named, "" for none; the ids of the past are of that key's installation.
    """

    class Kind(models.TextChoices):
        PERSON = "person", "Person"
        COURSE = "course", "Course"
        LINK = "link", "Link"

    class Proof(models.TextChoices):
        NONE = "none", "Not signed"
        WRONG = "wrong", "Signed with something else"
        SIGNED = "signed", "Signed with the key's secret"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="legacy_claims")
    kind = models.CharField(max_length=16, choices=Kind)
    lms_id = models.CharField(max_length=255)
    context_id = models.CharField(max_length=255, blank=True)  # of a link: the course it is in
    old_id = models.CharField(max_length=255)
    old_context_id = models.CharField(max_length=255, blank=True)
    consumer_key = models.CharField(max_length=255, blank=True)
    proof = models.CharField(max_length=16, choices=Proof, default=Proof.NONE)
    # The owner undid what a signature had done: the signature is not followed again.
    declined = models.BooleanField(default=False)
    # SHA-256 of all that was said: four ids are too long for one index.
    digest = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    organization_path = "deployment__registration__organization"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["deployment", "digest"], name="legacy_claim_once"),
            models.CheckConstraint(condition=models.Q(kind__in=["person", "course", "link"]), name="legacy_claim_kind"),
            models.CheckConstraint(
                condition=models.Q(proof__in=["none", "wrong", "signed"]), name="legacy_claim_proof"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.lms_id} was {self.old_id}"


class Migration(models.Model):
    """One step of an installation's move from LTI 1.1 to 1.3, which can be undone: what a signed claim changed in one
    launch, or what the owner applied at once."""

    class Origin(models.TextChoices):
        CLAIM = "claim", "By a signed launch"
        OWNER = "owner", "By the owner"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="migrations")
    origin = models.CharField(max_length=16, choices=Origin)
    words = models.TextField(blank=True)  # what it did, for the owner
    claims = models.JSONField(default=list)  # ids of the claims that were followed
    applied_at = models.DateTimeField(default=timezone.now)
    applied_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")

    organization_path = "installation__organization"

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=models.Q(origin__in=["claim", "owner"]), name="migration_origin"),
        ]

    def __str__(self) -> str:
        return f"{self.get_origin_display()}, {self.applied_at:%d %b %Y %H:%M}"


class LedgerChange(models.Model):
    """One thing that a step changed: `rows` of one model, alike in what they were and what they became.

    `before` and `after` map column names to texts (null stays null). CREATED has only `after`, DELETED only `before`,
    and that whole. An UPDATED row with nothing in `after` was looked at and kept whole: that is what it goes back to.
    """

    class Kind(models.TextChoices):
        CREATED = "created", "Created"
        UPDATED = "updated", "Updated"
        DELETED = "deleted", "Deleted"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=16, choices=Kind)
    model = models.CharField(max_length=64)  # as in "grades.score"
    rows = models.JSONField(default=list)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        abstract = True
        ordering = ["position"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.model}"


class MigrationChange(LedgerChange):
    """One thing that a migration changed."""

    migration = models.ForeignKey(Migration, models.CASCADE, related_name="changes")

    organization_path = "migration__installation__organization"

    class Meta(LedgerChange.Meta):
        constraints = [
            models.UniqueConstraint(fields=["migration", "position"], name="migration_change_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["created", "updated", "deleted"]), name="migration_change_kind"
            ),
        ]


class Merge(models.Model):
    """Two people of one organization whom an owner made one, which can be undone.

    The two are named by id and in words, not by reference: the one who did not stay is mostly no row any more, and what
    refers to people moves when they are merged again.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="merges")
    kept_person = models.UUIDField()
    other_person = models.UUIDField()
    kept_words = models.CharField("who stayed", max_length=1000)
    other_words = models.CharField("who was taken in", max_length=1000)
    words = models.TextField(blank=True)  # what it did, for the owner
    applied_at = models.DateTimeField(default=timezone.now)
    applied_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    # One of the two was erased since: the words and the changes, which hold what was erased, are gone.
    erased_at = models.DateTimeField(null=True, blank=True)

    organization_path = "organization"

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(kept_person=models.F("other_person")), name="merge_of_two"),
            # Who was taken in is taken in once, until that is undone.
            models.UniqueConstraint(
                fields=["organization", "other_person"],
                condition=models.Q(undone_at__isnull=True),
                name="merge_standing_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.other_words} into {self.kept_words}"


class MergeChange(LedgerChange):
    """One thing that a merge changed."""

    merge = models.ForeignKey(Merge, models.CASCADE, related_name="changes")

    organization_path = "merge__organization"

    class Meta(LedgerChange.Meta):
        constraints = [
            models.UniqueConstraint(fields=["merge", "position"], name="merge_change_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["created", "updated", "deleted"]), name="merge_change_kind"
            ),
        ]
