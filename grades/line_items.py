"""A grade by LTI 1.3's Assignment and Grade Services (checklist F): the link's column, and the score put into it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Prefetch, prefetch_related_objects
from django.utils import timezone

from courses.addresses import work_url
from courses.models import ResourceLink, Submission
from events.models import Delivery
from events.senders import (
    WAITS_FOR_HOST,
    WAITS_FOR_REGISTRATION,
    Courier,
    Errand,
    Result,
    Returned,
    Verdict,
)
from events.settling import update_rows
from grades.feedback import feedback_url
from grades.models import GradebookCell, Score
from grades.under_way import context_of, result_of
from lti.products import Canvas
from lti.v1p1.outcomes import Judgement, OutcomeVerdict
from lti.v1p3 import ags
from lti.v1p3 import vocabulary as names
from lti.v1p3.claims import AgsClaim
from lti.v1p3.services import PlatformServices, ServiceFailed, below
from organizations.models import Deployment
from organizations.platforms import may_call, services_of
from organizations.service_hosts import ask_about_host, shown_address
from organizations.shared_cache import DjangoSharedCache

#: The tag of the columns that are ours; with the assignment's id and the link's it makes a column found again (F5).
COLUMN_TAG = "grade"

_LOCK_SECONDS = 30
_FINDS_COLUMNS = {names.SCOPE_LINE_ITEM, names.SCOPE_LINE_ITEM_READONLY}


def load_services(cells: Iterable[GradebookCell]) -> bool:
    """Loads what LTI 1.3 needs besides the cells themselves: two statements if any of them is sent to by it. Returns
    whether any is."""
    ours = [cell for cell in cells if cell.deployment_id is not None]
    if ours:
        deployments = Deployment.objects.select_related("registration__organization", "installation")
        prefetch_related_objects(ours, Prefetch("deployment", deployments), "resource_link")
    return bool(ours)


def service_url(cell: GradebookCell) -> str:
    """Where the cell's grades go: the link's column, or the list of columns where it is to be found."""
    return cell.resource_link.line_item_url or cell.line_items_url


def hindered(delivery: Delivery, cell: GradebookCell) -> Result | None:
    """What about registration, rights and address keeps this grade from leaving now."""
    deployment = _deployment_of(cell)
    registration = deployment.registration
    organization = registration.organization
    if not registration.is_usable:
        words = (
            f"The LTI 1.3 registration of {registration.issuer} is not active; grades wait until the owner of "
            f"{organization.name} activates it."
        )
        return Result(Verdict.POSTPONED, WAITS_FOR_REGISTRATION, words)
    if deployment.state != Deployment.State.APPROVED:
        words = f"The deployment {deployment.deployment_id} of {registration.issuer} waits for the owner's approval."
        return Result(Verdict.POSTPONED, WAITS_FOR_REGISTRATION, words)
    if cell.scopes and names.SCOPE_SCORE not in cell.scopes:
        words = "The LMS does not let this tool send grades. Its administrator can allow it in the tool's settings."
        return Result(Verdict.REFUSED, "scope_not_granted", words)
    if not delivery.host:
        words = "The LMS named no valid address for grades. Its administrator should correct its public URL."
        return Result(Verdict.REFUSED, "bad_address", words)
    if not cell.resource_link.line_item_url and cell.scopes and not _FINDS_COLUMNS.intersection(cell.scopes):
        words = (
            "This link has no gradebook column in the LMS, and the LMS does not let this tool look for one. The "
            "teacher can make the link graded there."
        )
        return Result(Verdict.REFUSED, "no_gradebook_column", words)
    if not may_call(deployment, service_url(cell)):
        ask_about_host(deployment.installation, service_url(cell))
        return Result(Verdict.HELD, WAITS_FOR_HOST, _held_words(deployment, delivery.host))
    return None


def _deployment_of(cell: GradebookCell) -> Deployment:
    if cell.deployment is None:
        raise ValueError("The cell is not one of LTI 1.3.")
    return cell.deployment


def _held_words(deployment: Deployment, host: str) -> str:
    organization, installation = deployment.registration.organization, deployment.installation
    return (
        f"Waits for the owner of {organization.name}: “{installation.name}” wants its grades sent to {host}, which is "
        "neither its registration's nor one of its allowed hosts. The owner can allow it in the LMS installation."
    )


@dataclass(frozen=True, slots=True)
class Column:
    """What a try found out: the link's column is now `url`, and was believed to be `was`."""

    resource_link_id: UUID
    was: str
    url: str


@dataclass(frozen=True, slots=True)
class Posting:
    """One score to be posted, with all that a thread without a database needs for it."""

    platform: PlatformServices
    claim: AgsClaim
    wanted: ags.LineItem
    score: ags.Score
    resource_link_id: UUID
    held_words: str
    was_stale: bool  # the try before this one was refused for its timestamp

    def run(self, courier: Courier) -> Returned:
        """Finds the column where it is not known, and posts the score to it; see `events.senders.Errand`."""
        platform = self.platform.for_one_try(courier)
        url = self.claim.line_item
        try:
            if not url:
                lock = DjangoSharedCache().lock(f"line-item:{self.resource_link_id}", _LOCK_SECONDS)
                url = ags.find_or_create_line_item(platform, self.claim, self.wanted, lock=lock).url
            status, judgement = self._post(platform, url)
            if judgement.reason_code == ags.LINE_ITEM_GONE:
                # Never made again: a teacher has deleted it (design §5). Its URL is kept, and tells so the next time.
                found = self._find_again(platform)
                if found and found != url:
                    url = found
                    status, judgement = self._post(platform, url)
        except ServiceFailed as failure:
            silent = failure.judgement.reason_code == "no_answer"
            return Returned(self._result(failure.judgement), None, self._learned(url), answered=not silent)
        return Returned(self._result(judgement), status, self._learned(url))

    def _post(self, platform: PlatformServices, url: str) -> tuple[int, Judgement]:
        response = platform.send(ags.score_call(url, self.score))
        return response.status, ags.judge(response.status, response.headers, response.body)

    def _find_again(self, platform: PlatformServices) -> str:
        try:
            found = ags.find_line_item(platform, replace(self.claim, line_item=""), self.wanted)
        except ServiceFailed as failure:
            if failure.judgement.verdict is OutcomeVerdict.REFUSED:
                return ""
            raise
        return found.url if found is not None else ""

    def _learned(self, url: str) -> Column | None:
        known = self.claim.line_item
        return Column(self.resource_link_id, known, url) if url and url != known else None

    def _result(self, judgement: Judgement) -> Result:
        result = result_of(judgement)
        if judgement.reason_code == "host_not_allowed":
            return replace(result, verdict=Verdict.HELD, code=WAITS_FOR_HOST, words=self.held_words)
        if judgement.reason_code == ags.STALE_TIMESTAMP and not self.was_stale:
            # Once more at once, with a newer timestamp and unless there is a newer score; then as after any failure.
            return replace(result, retry_after=0)
        return result


@dataclass(frozen=True, slots=True)
class Grade:
    """One grade that may leave: its delivery, its cell (with what `load_services` loads), score and handed-in work."""

    delivery: Delivery
    cell: GradebookCell
    score: Score
    submission: Submission | None


def errands(grades: Sequence[Grade]) -> dict[UUID, Errand | Result]:
    """An errand for each grade, by the delivery's id: each with a timestamp that no other try of its cell has (F8)."""
    stamps = _next_timestamps([grade.cell.pk for grade in grades]) if grades else {}
    services: dict[tuple[UUID, tuple[str, ...]], PlatformServices] = {}
    prepared: dict[UUID, Errand | Result] = {}
    for grade in grades:
        delivery, cell = grade.delivery, grade.cell
        stamp = stamps.get(cell.pk)
        if stamp is None:
            words = "Not sent: the link, the person or the score is not there any more."
            prepared[delivery.pk] = Result(Verdict.CANCELLED, "gone", words)
            continue
        deployment, scopes = _deployment_of(cell), wanted_scopes(cell)
        if (deployment.pk, scopes) not in services:
            services[deployment.pk, scopes] = services_of(deployment, scopes)
        prepared[delivery.pk] = _errand(grade, services[deployment.pk, scopes], stamp)
    return prepared


def wanted_scopes(cell: GradebookCell) -> tuple[str, ...]:
    """The scopes to ask a token for: of ours those that the launch offered (D36); all where it did not say."""
    offered = [scope for scope in names.AGS_SCOPES if scope in cell.scopes]
    return tuple(offered or names.AGS_SCOPES)


def _next_timestamps(cell_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Takes the next timestamp of each cell for one try.

    It is on the disk before anything is sent, so that whoever crashes, nobody uses it again; and whoever else prepares
    a try of the same cell gets another one.
    """
    now = timezone.now()
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # A run lets its commits not wait for the disk (events.sending); this one must.
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit TO ON")
        cells = GradebookCell.objects.select_for_update(no_key=True).filter(pk__in=cell_ids).order_by("pk")
        stamps = {pk: ags.next_timestamp(now, last) for pk, last in cells.values_list("pk", "last_score_at")}
        if stamps:
            update_rows(GradebookCell, ("id",), ("last_score_at",), list(stamps.items()))
    return stamps


def _errand(grade: Grade, platform: PlatformServices, stamp: datetime) -> Errand:
    delivery, cell, submission = grade.delivery, grade.cell, grade.submission
    link, assignment = cell.resource_link, cell.assignment
    maximum = Decimal(delivery.payload["points_possible"])
    number = (submission.number if submission is not None else 0) if _is_canvas(cell) else None
    score = ags.Score(
        user_id=cell.lms_user_id,
        given=Decimal(delivery.payload["points"]),
        maximum=maximum,
        timestamp=stamp,
        comment=grade.score.comment if grade.score.released else "",
        submitted_at=submission.submitted_at if submission is not None else None,
        canvas_submission=None if number is None else _canvas_submission(cell, number, submission, grade.score),
    )
    posting = Posting(
        platform=platform,
        claim=AgsClaim(tuple(cell.scopes), cell.line_items_url, link.line_item_url),
        wanted=ags.LineItem(
            label=assignment.title,
            score_maximum=maximum,
            resource_id=str(assignment.pk),
            tag=COLUMN_TAG,
            resource_link_id=link.resource_link_id,
        ),
        score=score,
        resource_link_id=link.pk,
        held_words=_held_words(_deployment_of(cell), delivery.host),
        was_stale=delivery.last_error_code == ags.STALE_TIMESTAMP,
    )
    where = (
        f"POST {shown_address(below(link.line_item_url, 'scores'))}"
        if link.line_item_url
        else f"GET {shown_address(cell.line_items_url)}, then POST to the column's scores"
    )
    return Errand(
        delivery_id=delivery.pk,
        run=posting.run,
        description=f"{where}\nscore {score.given.normalize():f} of {maximum.normalize():f}, "
        f"timestamp {stamp:%Y-%m-%dT%H:%M:%SZ}",
        context=context_of(delivery, cell, submission=number),
    )


def _is_canvas(cell: GradebookCell) -> bool:
    return cell.installation.lms == Canvas.name or _deployment_of(cell).registration.issuer in Canvas.shared_issuers


def _canvas_submission(
    cell: GradebookCell, number: int, submission: Submission | None, score: Score
) -> ags.CanvasSubmission:
    """The work that SpeedGrader shows (F12): a new attempt when it was handed in since the last grade, else none. It is
    a launch of the assignment, or the public feedback where the course has it."""
    if cell.submission_sent is not None and number <= cell.submission_sent:
        return ags.CanvasSubmission(is_new=False)
    score.assignment = cell.assignment
    link = feedback_url(score)
    return ags.CanvasSubmission(
        is_new=True,
        kind="online_url" if link else "basic_lti_launch",
        data=link or work_url(cell.assignment, cell.person_id),
        submitted_at=submission.submitted_at if submission is not None else None,
    )


def note_columns(columns: Iterable[Column]) -> None:
    """Keeps the columns that tries found or made; one that a launch has named meanwhile stays."""
    for column in set(columns):
        ResourceLink.objects.filter(pk=column.resource_link_id, line_item_url=column.was).update(
            line_item_url=column.url, line_item_found=True
        )
