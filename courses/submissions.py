"""A person's work in an assignment: opened, drafted, handed in."""

from django.db import transaction
from django.utils import timezone

from courses.models import Assignment, Submission
from events.log import Actor, EventType, record
from organizations.models import Person
from organizations.upsert import upsert


class WorkRefusedError(Exception):
    """The assignment takes no work now; `str()` says why, to the person who wanted to hand it in."""


def open_assignment(assignment: Assignment, person: Person, actor: Actor) -> Submission:
    """The person's submission row, made with the event `assignment.opened` when this is the first time."""
    known = Submission.objects.filter(assignment=assignment, person=person).first()
    if known is not None:
        return known
    with transaction.atomic():
        submission_id, first_time = upsert(
            Submission, {"assignment_id": assignment.pk, "person_id": person.pk}, {}, update=[]
        )
        if first_time:
            record(
                person.organization_id,
                EventType.ASSIGNMENT_OPENED,
                actor=actor,
                subject_kind="assignment",
                subject_id=assignment.pk,
                data={"person": str(person.pk), "course": str(assignment.course_id)},
            )
    return Submission.objects.get(pk=submission_id)


def save_draft(submission: Submission, text: str, url: str) -> Submission:
    """Keeps unfinished work. Raises `WorkRefusedError` when the assignment takes none now."""
    _check_open(submission.assignment)
    submission.draft_text = text
    submission.draft_url = url
    submission.draft_saved_at = timezone.now()
    submission.save(update_fields=["draft_text", "draft_url", "draft_saved_at"])
    return submission


def submit(submission: Submission, text: str, url: str, actor: Actor) -> Submission:
    """Hands the work in, in place of what was handed in before; the draft is used up.

    Event `submission.created`. Raises `WorkRefusedError` when the assignment takes no work now, or when there is none.
    """
    if not text.strip() and not url:
        raise WorkRefusedError("Write something or add a link before you submit.")
    with transaction.atomic():
        # Two tabs submitting at once get two numbers.
        fresh = Submission.objects.select_for_update(of=("self",)).select_related("assignment").get(pk=submission.pk)
        _check_open(fresh.assignment)
        fresh.text = text
        fresh.url = url
        fresh.submitted_at = timezone.now()
        fresh.number += 1
        fresh.draft_text = ""
        fresh.draft_url = ""
        fresh.draft_saved_at = None
        fresh.save()
        record(
            fresh.person.organization_id,
            EventType.SUBMISSION_CREATED,
            actor=actor,
            subject_kind="submission",
            subject_id=fresh.pk,
            data={
                "person": str(fresh.person_id),
                "assignment": str(fresh.assignment_id),
                "course": str(fresh.assignment.course_id),
                "number": fresh.number,
            },
        )
    return fresh


def _check_open(assignment: Assignment) -> None:
    now = timezone.now()
    if not assignment.enabled:
        raise WorkRefusedError("This assignment is switched off. Ask your teacher.")
    if assignment.opens_at is not None and now < assignment.opens_at:
        raise WorkRefusedError("This assignment is not open yet.")
    if assignment.closes_at is not None and assignment.closes_at <= now:
        raise WorkRefusedError("This assignment is closed and takes no more work.")
