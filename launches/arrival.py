"""Who arrived, where: everything that an accepted launch changes, in one transaction (design §3, §5).

Statements are counted: a returning person's launch reads key, account, link and assignment, upserts the enrolment,
updates the cell, and inserts the launch row (tests/test_launch_statements.py; reference/performance.md says why).
"""

from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from django.db import IntegrityError, OperationalError, transaction
from django.utils import timezone

from courses.addresses import PERSON
from courses.models import Assignment, Course, Enrolment, LmsCourse, Participation, ResourceLink, SendGrade
from events.log import Actor, EventType, record
from grades.cells import remember_cell, remember_line_item_cell
from launches.browser import Browser
from launches.credentials import Credential
from launches.destinations import Destination, Resource, after_copying, resolve
from launches.identity import person_of
from launches.legacy_claims import follow_claim, remember_claim
from launches.looking import actual_user_of, as_kept, check_something_to_look_at, person_looked_at
from launches.mentoring import MENTOR_FOR
from launches.models import Launch
from launches.sections import PAGE
from launches.selecting import LmsContext, selection_to_json
from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage
from lti.roles import CourseRole
from organizations.models import Installation, LmsAccount, Person
from organizations.prepared_query import PreparedQuery
from organizations.service_hosts import learn_host
from organizations.upsert import insert, insert_missing, upsert
from recordings.models import Room, RoomLink

_TRIES = 3
_FOREIGN_KEY_VIOLATION, _DEADLOCK = "23503", "40P01"


def arrive(message: LaunchMessage, credential: Credential, resource: Resource, browser: Browser, origin: str) -> Launch:
    """Takes a verified launch in: person, LMS course, link, enrolment, gradebook cell and the launch row.

    `origin` is the Origin header of the launch request ("" if it had none): the page that frames us. Returns the saved
    launch. Raises `LaunchError` (NONCE_REUSED, or why there is no destination), and then nothing has changed.
    """
    for _ in range(_TRIES - 1):
        try:
            return _arrive_once(message, credential, resource, browser, origin)
        except (IntegrityError, OperationalError) as error:
            if not _was_overtaken(error):
                raise
    return _arrive_once(message, credential, resource, browser, origin)


def _was_overtaken(error: Exception) -> bool:
    """Whether the launch met a change of the same people that went before it, such as a merge: what it looked up is not
    there any more, or both waited for each other. Nothing of it was kept, and what it looks up anew is right."""
    return getattr(error.__cause__, "pgcode", "") in (_FOREIGN_KEY_VIOLATION, _DEADLOCK)


def _arrive_once(
    message: LaunchMessage, credential: Credential, resource: Resource, browser: Browser, origin: str
) -> Launch:
    try:
        with transaction.atomic():
            return _arrive(message, credential, resource, browser, origin)
    except IntegrityError as error:
        # Only the insert of the launch row can break this constraint: PostgreSQL names it, SQLite its columns.
        if "launch_nonce_once" in str(error) or "launches_launch.nonce" in str(error):
            raise LaunchError(
                LaunchErrorCode.NONCE_REUSED,
                "the nonce is new",
                expected="a nonce that this key has not used",
                cause="The same launch was sent twice: a double click, the browser's Back, or a replay (A17).",
            ) from error
        raise
    except LaunchError:
        if message.migration is not None and credential.deployment is not None and actual_user_of(message) is None:
            remember_claim(message, credential.deployment)
        raise


def _arrive(
    message: LaunchMessage, credential: Credential, resource: Resource, browser: Browser, origin: str
) -> Launch:
    installation = credential.installation
    role = message.roles.course_role
    # Canvas names a link when it asks to choose content in its older way: it is the course's, not the chosen one's.
    has_link = bool(message.resource_link_id) and message.selection is None
    actual = actual_user_of(message)
    if message.migration is not None and credential.deployment is not None and actual is None:
        follow_claim(message, credential.deployment)
    looked_at = person_looked_at(installation, message, actual) if actual is not None else None
    link = _known_link(installation, message) if has_link else None
    destination = _destination(message, installation, resource, link)
    if looked_at is not None:
        # A look changes nothing but the launch log: no person, no roster, no link, no course, no gradebook cell.
        person = looked_at
        check_something_to_look_at(message, destination)
    else:
        person = person_of(installation, message)
        destination = after_copying(destination, Actor.of(person))
        if has_link:
            link = _link(credential, message, link, destination, Actor.of(person), resource.kind.value)
        if destination.course is not None:
            _enrol(destination.course, person, role)
            if link is not None:
                insert_missing(Participation, {"lms_course_id": link.lms_course_id, "person_id": person.id})
        if destination.assignment is not None and link is not None and role is CourseRole.STUDENT:
            _remember_cell(message, credential, link, person, destination.assignment)
        _note_installation(installation, message)
    launch = Launch(
        organization=installation.organization,
        installation=installation,
        lti_key=credential.key,
        deployment=credential.deployment,
        credential=credential.id,
        nonce=message.nonce,
        at=timezone.now(),
        lti_version=message.lti_version,
        message_type=message.message_type[:64],
        person=person,
        role=role.value,
        roles=message.roles.raw[:2000],
        course=destination.course,
        assignment=destination.assignment,
        room=destination.room,
        resource_link=link,
        custom=_custom(message),
        mentor_for=list(message.role_scope_mentor),
        return_url=message.return_url,
        document_target=message.document_target[:16],
        locale=message.locale[:35],
        frame_origins=_frame_origins(message, credential, origin),
        for_person=_reviewed_person(message, installation, person, role),
        selection=_kept_selection(message),
        course_question=destination.question.as_json() if destination.question else None,
        actual_user=as_kept(actual),
        browser=browser.digest,
    )
    insert(launch)
    credential.note_use()
    return launch


def _custom(message: LaunchMessage) -> dict[str, str]:
    """The custom parameters by their mapped names; what pages read later has its plain name besides, whichever prefix
    it came with (A37)."""
    custom = dict(message.custom)
    for name, spellings in (("page", PAGE), ("mentor_for", MENTOR_FOR)):
        value = message.custom_value(*spellings)
        if value and not custom.get(name, "").strip():
            custom[name] = value
    return custom


def _kept_selection(message: LaunchMessage) -> dict[str, Any] | None:
    if message.selection is None:
        return None
    return selection_to_json(
        message.selection, LmsContext(message.context_id, message.context_title, message.context_label)
    )


def _destination(
    message: LaunchMessage, installation: Installation, resource: Resource, link: ResourceLink | None
) -> Destination:
    """Choosing content leads to the picker, which is for teachers (C3, J19); all else where the link leads."""
    if message.selection is None:
        return resolve(resource, message, installation, link)
    if message.roles.course_role is not CourseRole.TEACHER:
        raise _role_not_allowed(message, "choose content")
    return Destination()


def _role_not_allowed(message: LaunchMessage, what: str) -> LaunchError:
    return LaunchError(
        LaunchErrorCode.ROLE_NOT_ALLOWED,
        f"the role may {what}",
        expected="a teacher's role in this very course",
        received=message.roles.raw or "no role",
        cause="The LMS says that this person is no teacher of the course; roles of the whole site do not count (A28).",
    )


def _reviewed_person(
    message: LaunchMessage, installation: Installation, person: Person, role: CourseRole
) -> Person | None:
    """Whose submission is to be reviewed: anybody's of this installation for staff, one's own for a student (D21).

    For staff also the person whom our own address of a piece of work names (F12); whose they may see, the pages know.
    """
    if not message.for_user_id:
        return None if role is CourseRole.STUDENT else _person_in_address(message, installation)
    if role is CourseRole.STUDENT and message.for_user_id != message.user_id:
        raise _role_not_allowed(message, "review somebody's submission")
    account = (
        LmsAccount.objects.select_related("person")
        .filter(installation=installation, lms_user_id=message.for_user_id)
        .first()
    )
    if account is None:
        raise LaunchError(
            LaunchErrorCode.UNKNOWN_DESTINATION,
            "the person to review is known",
            expected="somebody who has opened a link of this LMS",
            received=message.for_user_id,
            cause="This person has never opened the assignment here, so there is nothing to review.",
        )
    return account.person if account.person_id != person.id else person


def _person_in_address(message: LaunchMessage, installation: Installation) -> Person | None:
    """The person whom the query of the launched address names; None also for somebody unknown: then all are shown."""
    named = parse_qs(urlsplit(message.target_link_uri).query).get(PERSON, [""])[0]
    try:
        return Person.objects.filter(organization=installation.organization_id, pk=UUID(named)).first()
    except ValueError:
        return None


def _known_link(installation: Installation, message: LaunchMessage) -> ResourceLink | None:
    return _LINK.first(
        installation=installation.id, context_id=message.context_id, resource_link_id=message.resource_link_id
    )


_LINK = PreparedQuery(
    lambda installation, context_id, resource_link_id: ResourceLink.objects.select_related(
        "lms_course", "assignment__course", "course"
    ).filter(
        lms_course__installation=installation, lms_course__context_id=context_id, resource_link_id=resource_link_id
    ),
    installation=UUID,
    context_id=str,
    resource_link_id=str,
)


def _link(
    credential: Credential,
    message: LaunchMessage,
    link: ResourceLink | None,
    destination: Destination,
    actor: Actor,
    address_kind: str,
) -> ResourceLink:
    # First all that is written of the LMS course, then of the link: parallel launches that wrote them the other way
    # round would wait for each other, and one of them would be broken off.
    is_new = link is None
    if link is None:
        link = _new_link(credential.installation, message, address_kind)
    else:
        _update_lms_course(link.lms_course, message)
    _remember_course(link.lms_course, destination.course)
    _remember_roster(link.lms_course, credential, message)
    if not is_new:
        _update_link(link, message, address_kind)
    if link.assignment_id is None and link.course_id is None:
        if destination.assignment is not None:
            _remember_assignment(link, destination.assignment, actor)
        elif destination.room is not None:
            _remember_room(link, destination.room, actor)
    return link


def _new_link(installation: Installation, message: LaunchMessage, address_kind: str) -> ResourceLink:
    titles = {"title": message.context_title[:1000], "label": message.context_label[:255]}
    lms_course_id, _ = upsert(LmsCourse, {"installation_id": installation.id, "context_id": message.context_id}, titles)
    link_id, _ = upsert(
        ResourceLink,
        {"lms_course_id": lms_course_id, "resource_link_id": message.resource_link_id},
        {"title": message.resource_link_title[:1000], "address_kind": address_kind},
    )
    return ResourceLink.objects.select_related("lms_course").get(pk=link_id)


def _update_lms_course(lms_course: LmsCourse, message: LaunchMessage) -> None:
    title, label = message.context_title[:1000], message.context_label[:255]
    if (title and lms_course.title != title) or (label and lms_course.label != label):
        lms_course.title = title or lms_course.title
        lms_course.label = label or lms_course.label
        lms_course.save(update_fields=["title", "label"])


def _update_link(link: ResourceLink, message: LaunchMessage, address_kind: str) -> None:
    title = message.resource_link_title[:1000] or link.title
    if link.title != title or link.address_kind != address_kind:
        link.title, link.address_kind = title, address_kind
        link.save(update_fields=["title", "address_kind"])


def _remember_course(lms_course: LmsCourse, course: Course | None) -> None:
    """The first course that an LMS course opens is remembered as its own; launches without a context id have none."""
    if course is None or lms_course.course_id is not None or not lms_course.context_id:
        return
    LmsCourse.objects.filter(pk=lms_course.pk, course=None).update(course=course)


def _remember_assignment(link: ResourceLink, assignment: Assignment, actor: Actor) -> None:
    unmapped = ResourceLink.objects.filter(pk=link.pk, assignment=None, course=None)
    if unmapped.update(assignment=assignment):
        record(
            assignment.course.organization_id,
            EventType.LINK_MAPPED,
            actor=actor,
            subject_kind="resource_link",
            subject_id=link.id,
            data={"assignment": str(assignment.id), "course": str(assignment.course_id), "by": "launch"},
        )


def _remember_room(link: ResourceLink, room: Room, actor: Actor) -> None:
    """The first room that a link opens is remembered as its own, as with assignments."""
    if RoomLink.objects.filter(resource_link=link.pk).exists():
        return
    _, inserted = upsert(RoomLink, {"resource_link_id": link.pk}, {"room_id": room.pk}, update=())
    if inserted:
        record(
            room.course.organization_id,
            EventType.LINK_MAPPED,
            actor=actor,
            subject_kind="resource_link",
            subject_id=link.id,
            data={"assignment": None, "course": str(room.course_id), "room": str(room.pk), "by": "launch"},
        )


def _remember_roster(lms_course: LmsCourse, credential: Credential, message: LaunchMessage) -> None:
    """Keeps where the roster is read, from the latest launch that said so (G1); no statement when it is known."""
    if message.nrps is None or credential.deployment is None or not lms_course.context_id:
        return
    url = message.nrps.memberships_url
    if lms_course.memberships_url != url or lms_course.deployment_id != credential.deployment.id:
        LmsCourse.objects.filter(pk=lms_course.pk).update(memberships_url=url, deployment=credential.deployment)


def _enrol(course: Course, person: Person, role: CourseRole) -> None:
    enrolment_id, inserted = upsert(
        Enrolment,
        {"course_id": course.id, "person_id": person.id},
        {"role": role.value, "state": Enrolment.State.ACTIVE, "last_launch_at": timezone.now()},
    )
    if inserted:
        record(
            course.organization_id,
            EventType.ENROLMENT_CREATED,
            actor=Actor.of(person),
            subject_kind="enrolment",
            subject_id=enrolment_id,
            data={"course": str(course.id), "person": str(person.id), "role": role.value},
        )


def _remember_cell(
    message: LaunchMessage, credential: Credential, link: ResourceLink, person: Person, assignment: Assignment
) -> None:
    custom = message.custom_value("send_grade", "codio_send_grade").strip().upper()
    send_grade = custom if custom in SendGrade.values else ""
    if message.ags is not None and credential.deployment is not None:
        remember_line_item_cell(
            resource_link=link,
            person_id=person.id,
            assignment=assignment,
            installation_id=credential.installation.id,
            deployment_id=credential.deployment.id,
            lms_user_id=message.user_id,
            ags=message.ags,
            send_grade=send_grade,
        )
    elif message.outcome_service_url and message.result_sourcedid and credential.key is not None:
        extensions = asdict(message.outcome_extensions)
        extensions["data_values_accepted"] = sorted(message.outcome_extensions.data_values_accepted)
        # Canvas takes points besides the percentage (B20); they have to be out of its own maximum.
        points_possible = message.custom_value("canvas_assignment_points_possible")
        if points_possible:
            extensions["points_possible"] = points_possible
        remember_cell(
            resource_link_id=link.id,
            person_id=person.id,
            assignment=assignment,
            installation_id=credential.installation.id,
            lti_key_id=credential.key.id,
            outcome_service_url=message.outcome_service_url,
            result_sourcedid=message.result_sourcedid,
            outcome_extensions=extensions,
            send_grade=send_grade,
        )
        # After the cell, as what else is written of the installation: see _link.
        learn_host(credential.installation, message.outcome_service_url)


def _note_installation(installation: Installation, message: LaunchMessage) -> None:
    """What the LMS says it is (A35). A second instance under one key is noted for the owner: a shared key (A36)."""
    platform = message.platform
    changes: dict[str, object] = {}
    if platform.lms and installation.lms != platform.lms:
        changes["lms"] = platform.lms[:32]
    if platform.product_version and installation.lms_version != platform.product_version[:255]:
        changes["lms_version"] = platform.product_version[:255]
    if platform.name and installation.instance_name != platform.name[:255]:
        changes["instance_name"] = platform.name[:255]
    if platform.guid and platform.guid != installation.instance_guid:
        if not installation.instance_guid:
            changes["instance_guid"] = platform.guid
        elif platform.guid not in installation.other_instance_guids and len(installation.other_instance_guids) < 20:
            changes["other_instance_guids"] = [*installation.other_instance_guids, platform.guid]
    if changes:
        Installation.objects.filter(pk=installation.pk).update(**changes)


def _frame_origins(message: LaunchMessage, credential: Credential, origin: str) -> list[str]:
    """The origins that may frame this launch's pages: who posted the form, and what the LMS says of itself (D29)."""
    origins: list[str] = []
    registration = credential.deployment.registration if credential.deployment else None
    login = registration.auth_login_url if registration else ""
    selection = message.selection.return_url if message.selection else ""
    for url in (origin, message.return_url, message.platform.url, login, selection):
        try:
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            continue
        if parts.scheme in ("http", "https") and parts.hostname and parts.hostname.isascii():
            found = f"{parts.scheme}://{parts.hostname}{port}"
            if found not in origins and not set(found) & set(" ;,'\"*"):
                origins.append(found)
    return origins
