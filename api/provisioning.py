"""Brings organizations and all that they need into being, or up to date, from one document (contract §1)."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from api.schemas.courses import assignment_out, course_out
from api.schemas.provision import (
    CourseAnswer,
    CourseEntry,
    InstallationAnswer,
    InstallationEntry,
    InviteAnswer,
    InviteEntry,
    KeyAnswer,
    KeyEntry,
    MeetingServerAnswer,
    MeetingServerEntry,
    MemberAnswer,
    MemberEntry,
    OrganizationAnswer,
    OrganizationEntry,
    ProvisionAnswer,
    ProvisionFile,
    RegistrationAnswer,
    RegistrationEntry,
    RoomAnswer,
    SettingsAnswer,
    SettingsEntry,
    TokenAnswer,
    TokenEntry,
    WebhookAnswer,
    WebhookEntry,
)
from courses.definitions import DefinitionError, change_course, make_course, put_in_order
from courses.models import Assignment, Course
from events.endpoints import EndpointError, change_endpoint, make_endpoint, rotate_secret
from events.log import SYSTEM
from organizations.addresses import tool_addresses
from organizations.api_tokens import make_token, replace_token
from organizations.identifiers import random_token
from organizations.models import (
    ApiToken,
    Deployment,
    Installation,
    LtiKey,
    Membership,
    Organization,
    Registration,
    RegistrationInvite,
    User,
)
from organizations.registration_invites import make_invite, renew_invite
from organizations.registrations import (
    Platform,
    RegistrationRefused,
    activate_registration,
    add_service_hosts,
    approve_deployment,
    change_registration,
    check_platform,
    doubts_about,
    make_registration,
)
from organizations.signals import secret_reset
from recordings.addresses import room_url
from recordings.connecting import ServerError, change_server, make_server
from recordings.definitions import (
    AssignmentDefinition,
    RoomDefinition,
    change_assignment,
    change_room,
    make_assignment,
    make_room,
)
from recordings.models import MeetingServer, Room
from recordings.room_settings import policy_problems
from recordings.sessions import webhook_url

TAKEN = "is taken: choose another one"


class ProvisionError(ValueError):
    """Something in the document cannot be; `str()` of it begins with the path: `organizations[0].slug: …`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


def provision(document: ProvisionFile) -> ProvisionAnswer:
    """Makes or updates all that the document names, in one transaction; what it does not name stays as it is.

    Raises ProvisionError, and has then changed nothing.
    """
    _refuse_repetition("organizations", [("slug", entry.slug) for entry in document.organizations])
    try:
        with transaction.atomic():
            return ProvisionAnswer(
                organizations=[
                    _organization(entry, f"organizations[{index}]")
                    for index, entry in enumerate(document.organizations)
                ]
            )
    except IntegrityError as error:
        raise ProvisionError("organizations", "somebody else changed the same rows meanwhile: run it again") from error


def weak_points(document: ProvisionFile) -> Iterator[str]:
    """What deserves a second look, each as a warning with its path: passwords, secrets and tokens that are too easy to
    guess, and issuers that look like slips (D4)."""
    for index, organization in enumerate(document.organizations):
        path = f"organizations[{index}]"
        for role, members in (("owners", organization.owners), ("teachers", organization.teachers)):
            for number, member in enumerate(members):
                if member.password and len(member.password) < 10:
                    yield f"{path}.{role}[{number}].password: is shorter than 10 characters"
        for number, installation in enumerate(organization.installations):
            for position, key in enumerate(installation.keys):
                if key.shared_secret and len(key.shared_secret) < 16:
                    where = f"{path}.installations[{number}].keys[{position}].shared_secret"
                    yield f"{where}: is shorter than 16 characters"
            for position, one in enumerate(installation.registrations):
                registration = Registration.objects.select_related("organization").get(
                    organization__slug=organization.slug, issuer=one.issuer, client_id=one.client_id
                )
                for doubt in doubts_about(Platform.of(registration), registration.organization, registration):
                    yield f"{path}.installations[{number}].registrations[{position}].issuer: {doubt}"
        for number, token in enumerate(organization.api_tokens):
            if token.token and len(token.token) < 32:
                yield f"{path}.api_tokens[{number}].token: is shorter than 32 characters"


def _refuse_repetition(path: str, values: Sequence[tuple[str, str | None]]) -> None:
    seen = set()
    for index, (key, value) in enumerate(values):
        if value is not None and value in seen:
            raise ProvisionError(f"{path}[{index}].{key}", "is in the file twice")
        seen.add(value)


def _organization(entry: OrganizationEntry, path: str) -> OrganizationAnswer:
    organization, _ = Organization.objects.get_or_create(slug=entry.slug, defaults={"name": entry.name or entry.slug})
    changed = _settings(organization, entry.settings, f"{path}.settings")
    for name in sorted({"name", "enabled"} & entry.model_fields_set):
        if getattr(organization, name) != getattr(entry, name):
            setattr(organization, name, getattr(entry, name))
            changed.append(name)
    if changed:
        organization.save(update_fields=changed)
    _refuse_repetition(f"{path}.owners", [("email", one.email.lower()) for one in entry.owners])
    owners = {one.email.lower() for one in entry.owners}
    _refuse_repetition(f"{path}.teachers", [("email", one.email.lower()) for one in entry.teachers])
    for index, teacher in enumerate(entry.teachers):
        if teacher.email.lower() in owners:
            raise ProvisionError(f"{path}.teachers[{index}].email", "is among the owners: a member has one role")
    _refuse_repetition(f"{path}.installations", [("name", one.name) for one in entry.installations])
    _refuse_repetition(f"{path}.invites", [("name", one.name) for one in entry.invites])
    _refuse_repetition(f"{path}.meeting_servers", [("name", one.name) for one in entry.meeting_servers])
    _refuse_repetition(f"{path}.webhooks", [("url", one.url) for one in entry.webhooks])
    _refuse_repetition(f"{path}.api_tokens", [("name", one.name) for one in entry.api_tokens])
    _refuse_repetition(f"{path}.courses", [("code", one.code) for one in entry.courses])
    return OrganizationAnswer(
        id=organization.id,
        slug=organization.slug,
        enabled=organization.enabled,
        name=organization.name,
        owners=[
            _member(organization, Membership.Role.OWNER, one, f"{path}.owners[{index}]")
            for index, one in enumerate(entry.owners)
        ],
        teachers=[
            _member(organization, Membership.Role.TEACHER, one, f"{path}.teachers[{index}]")
            for index, one in enumerate(entry.teachers)
        ],
        settings=SettingsAnswer(
            launch_log_days=organization.launch_log_days,
            time_zone=organization.time_zone,
            grade_digest=organization.grade_digest,
            branding=organization.branding,
            meeting_policy=organization.meeting_policy,
        ),
        invites=[_invite(organization, one) for one in entry.invites],
        installations=[
            _installation(organization, one, f"{path}.installations[{index}]")
            for index, one in enumerate(entry.installations)
        ],
        meeting_servers=[
            _meeting_server(organization, one, f"{path}.meeting_servers[{index}]")
            for index, one in enumerate(entry.meeting_servers)
        ],
        webhooks=[_webhook(organization, one, f"{path}.webhooks[{index}]") for index, one in enumerate(entry.webhooks)],
        api_tokens=[
            _api_token(organization, one, f"{path}.api_tokens[{index}]") for index, one in enumerate(entry.api_tokens)
        ],
        courses=[_course(organization, one, f"{path}.courses[{index}]") for index, one in enumerate(entry.courses)],
        **asdict(tool_addresses(organization)),
    )


def _settings(organization: Organization, entry: SettingsEntry, path: str) -> list[str]:
    changed = []
    for name in sorted({"launch_log_days", "time_zone", "grade_digest"} & entry.model_fields_set):
        if getattr(organization, name) != getattr(entry, name):
            setattr(organization, name, getattr(entry, name))
            changed.append(name)
    if entry.branding is not None:
        given = entry.branding.model_dump(exclude_unset=True)
        branding = {name: value for name, value in {**organization.branding, **given}.items() if value is not None}
        if branding != organization.branding:
            organization.branding = branding
            changed.append("branding")
    if entry.meeting_policy is not None:
        given = entry.meeting_policy.model_dump(exclude_unset=True)
        policy = {name: value for name, value in {**organization.meeting_policy, **given}.items() if value is not None}
        for problem in policy_problems(policy):
            raise ProvisionError(f"{path}.meeting_policy", f"{problem.name} {problem.reason}")
        if policy != organization.meeting_policy:
            organization.meeting_policy = policy
            changed.append("meeting_policy")
    return changed


def _member(organization: Organization, role: Membership.Role, entry: MemberEntry, path: str) -> MemberAnswer:
    user = User.objects.filter(email__iexact=entry.email).first()
    if user is None:
        user = User.objects.create_user(entry.email, entry.password)
    elif entry.password is not None and not user.check_password(entry.password):
        # Whoever writes this file must not get into another tenant, or the platform, by naming one of its people.
        if user.is_superuser or user.memberships.exclude(organization=organization).exists():
            raise ProvisionError(
                f"{path}.password",
                "this person signs in elsewhere on this platform, too, with another password: leave the password out",
            )
        user.set_password(entry.password)
        user.save(update_fields=["password"])
    membership, made = Membership.objects.get_or_create(organization=organization, user=user, defaults={"role": role})
    if not made and membership.role != role:
        membership.role = role
        membership.save(update_fields=["role"])
    return MemberAnswer(id=user.id, email=user.email)


def _installation(organization: Organization, entry: InstallationEntry, path: str) -> InstallationAnswer:
    installation, _ = Installation.objects.get_or_create(organization=organization, name=entry.name)
    changed = []
    for name in sorted({"enabled", "verified_emails"} & entry.model_fields_set):
        if getattr(installation, name) != getattr(entry, name):
            setattr(installation, name, getattr(entry, name))
            changed.append(name)
    if changed:
        installation.save(update_fields=changed)
    _refuse_repetition(f"{path}.keys", [("consumer_key", one.consumer_key) for one in entry.keys])
    named = [one.consumer_key for one in entry.keys if one.consumer_key]
    # An entry without a consumer key means one that was made for it before, if there is one.
    unnamed = iter(list(installation.keys.exclude(consumer_key__in=named).order_by("created_at", "id")))
    return InstallationAnswer(
        id=installation.id,
        name=installation.name,
        enabled=installation.enabled,
        verified_emails=installation.verified_emails,
        keys=[_key(installation, one, unnamed, f"{path}.keys[{index}]") for index, one in enumerate(entry.keys)],
        registrations=[
            _registration(installation, one, f"{path}.registrations[{index}]")
            for index, one in enumerate(entry.registrations)
        ],
    )


def _registration(installation: Installation, entry: RegistrationEntry, path: str) -> RegistrationAnswer:
    registration = (
        Registration.objects.select_related("organization", "installation")
        .filter(organization=installation.organization_id, issuer=entry.issuer, client_id=entry.client_id)
        .first()
    )
    if registration is None:
        registration = _new_registration(installation, entry, path)
    else:
        _update_registration(registration, installation, entry, path)
    add_service_hosts(installation, entry.service_hosts)
    for deployment_id in dict.fromkeys(entry.deployment_ids):
        _approve(registration, deployment_id)
    approved = registration.deployments.filter(state=Deployment.State.APPROVED)
    return RegistrationAnswer(
        id=registration.id,
        **asdict(Platform.of(registration)),
        deployment_ids=list(approved.values_list("deployment_id", flat=True)),
        service_hosts=installation.service_hosts,
        enabled=registration.enabled,
    )


def _platform(entry: RegistrationEntry, path: str, before: Platform | None = None) -> Platform:
    """The platform that the entry describes; what it leaves out is as it was."""
    names = set(Platform.__dataclass_fields__) & entry.model_fields_set
    given: dict[str, Any] = {name: getattr(entry, name) or "" for name in names}
    platform = replace(before or Platform(entry.issuer, entry.client_id, "", ""), **given)
    for error in check_platform(platform, allow_http=settings.OUTBOUND_ALLOW_HTTP):
        raise ProvisionError(f"{path}.{error.field}", str(error))
    return platform


def _new_registration(installation: Installation, entry: RegistrationEntry, path: str) -> Registration:
    try:
        return make_registration(
            installation, _platform(entry, path), deployment_ids=entry.deployment_ids, enabled=entry.enabled
        )
    except RegistrationRefused as error:
        raise ProvisionError(f"{path}.{error.field}", str(error)) from error


def _update_registration(
    registration: Registration, installation: Installation, entry: RegistrationEntry, path: str
) -> None:
    if registration.state == Registration.State.PENDING:
        activate_registration(registration, installation)
    elif registration.installation_id != installation.pk:
        raise ProvisionError(f"{path}.client_id", f"belongs to the installation {registration.installation.name}")
    change_registration(registration, _platform(entry, path, Platform.of(registration)))
    if "enabled" in entry.model_fields_set and registration.enabled != entry.enabled:
        registration.enabled = entry.enabled
        registration.save(update_fields=["enabled"])


def _approve(registration: Registration, deployment_id: str) -> None:
    deployment, made = Deployment.objects.get_or_create(
        registration=registration,
        deployment_id=deployment_id,
        defaults={"installation_id": registration.installation_id},
    )
    if not made and deployment.state != Deployment.State.APPROVED:
        approve_deployment(deployment, registration.installation)


def _invite(organization: Organization, entry: InviteEntry) -> InviteAnswer:
    # Only a hash of a link is stored, so that it cannot be shown again: one that is still open gets a new link.
    invite = RegistrationInvite.objects.filter(organization=organization, name=entry.name, used_at=None).first()
    if invite is None:
        invite, url = make_invite(organization, entry.name)
    else:
        url = renew_invite(invite)
    return InviteAnswer(id=invite.id, name=invite.name, registration_url=url, expires_at=invite.expires_at)


def _key(installation: Installation, entry: KeyEntry, unnamed: Iterator[LtiKey], path: str) -> KeyAnswer:
    if entry.consumer_key:
        key = LtiKey.objects.filter(consumer_key=entry.consumer_key).select_related("installation").first()
        if key and key.installation.organization_id != installation.organization_id:
            raise ProvisionError(f"{path}.consumer_key", TAKEN)
        if key and key.installation_id != installation.pk:
            raise ProvisionError(f"{path}.consumer_key", f"belongs to the installation {key.installation.name}")
    else:
        key = next(unnamed, None)
    if key is None:
        key = LtiKey(
            installation=installation,
            consumer_key=entry.consumer_key or random_token(),
            secret=entry.shared_secret or random_token(),
            enabled=entry.enabled,
        )
        key.save(force_insert=True)
        return KeyAnswer(consumer_key=key.consumer_key, shared_secret=key.secret, enabled=key.enabled)
    if "enabled" in entry.model_fields_set and key.enabled != entry.enabled:
        key.enabled = entry.enabled
        key.save(update_fields=["enabled"])
    if entry.shared_secret and entry.shared_secret != key.secret:
        _replace_secret(key, entry.shared_secret)
    return KeyAnswer(consumer_key=key.consumer_key, enabled=key.enabled)


def _replace_secret(key: LtiKey, secret: str) -> None:
    """The file says what the secret is: the one before ends at once."""
    key.secret = secret
    key.last_used_at = None
    key.previous_secret = ""
    key.previous_secret_expires_at = None
    key.previous_secret_last_used_at = None
    key.save(
        update_fields=[
            "secret",
            "last_used_at",
            "previous_secret",
            "previous_secret_expires_at",
            "previous_secret_last_used_at",
        ]
    )
    secret_reset.send(LtiKey, key=key, actor=None, overlap_seconds=0)


def _meeting_server(organization: Organization, entry: MeetingServerEntry, path: str) -> MeetingServerAnswer:
    server = MeetingServer.objects.filter(organization=organization, name=entry.name).first()
    named = entry.model_fields_set - {"name", "default"}
    # An address or key that is empty in the file is one that is left out.
    values = {name: value for name in sorted(named) if (value := getattr(entry, name)) is not None}
    try:
        if server is None:
            for name in ("url", "api_key", "api_secret"):
                if name not in values:
                    raise ProvisionError(f"{path}.{name}", "is required for a meeting server that is new")
            server = make_server(organization, name=entry.name, is_default=entry.default, **values)
        else:
            server.organization = organization
            is_default = entry.default if "default" in entry.model_fields_set else None
            server = change_server(server, is_default=is_default, **values)
    except ServerError as error:
        raise ProvisionError(f"{path}.{error.field}", error.message) from error
    return MeetingServerAnswer(
        id=server.id,
        name=server.name,
        kind=server.kind,
        url=server.url,
        api_key=server.api_key,
        enabled=server.enabled,
        default=server.is_default,
        webhook_url=webhook_url(server),
    )


def _webhook(organization: Organization, entry: WebhookEntry, path: str) -> WebhookAnswer:
    endpoint = organization.webhook_endpoints.filter(url=entry.url).first()
    made = endpoint is None
    values: dict[str, Any] = {
        field: getattr(entry, name)
        for name, field in (("events", "event_types"), ("description", "description"), ("enabled", "enabled"))
        if name in entry.model_fields_set
    }
    try:
        if endpoint is None:
            endpoint = make_endpoint(organization, url=entry.url, secret=entry.secret or "", **values)
        else:
            change_endpoint(endpoint, **values)
            if entry.secret and entry.secret != endpoint.secret:
                # The file says what the secret is: the one before ends at once.
                rotate_secret(endpoint, timedelta(0), SYSTEM, entry.secret)
    except EndpointError as error:
        raise ProvisionError(f"{path}.{error.field}", error.message) from error
    answer = {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.event_types,
        "description": endpoint.description,
        "enabled": endpoint.enabled,
    }
    return WebhookAnswer(**answer, secret=endpoint.secret) if made else WebhookAnswer(**answer)


def _api_token(organization: Organization, entry: TokenEntry, path: str) -> TokenAnswer:
    api_token = ApiToken.objects.filter(organization=organization, name=entry.name).first()
    made = ""
    if entry.token:
        others = ApiToken.objects.filter(hash=ApiToken.hash_of(entry.token))
        if (others.exclude(pk=api_token.pk) if api_token else others).exists():
            raise ProvisionError(f"{path}.token", TAKEN)
    if api_token is None:
        api_token, made = make_token(organization, entry.name, entry.token)
    elif entry.token and ApiToken.hash_of(entry.token) != api_token.hash:
        replace_token(api_token, entry.token)
        made = entry.token
    if "enabled" in entry.model_fields_set and api_token.enabled != entry.enabled:
        api_token.enabled = entry.enabled
        api_token.save(update_fields=["enabled"])
    if made:
        return TokenAnswer(id=api_token.id, name=api_token.name, token=made, enabled=api_token.enabled)
    return TokenAnswer(id=api_token.id, name=api_token.name, enabled=api_token.enabled)


def _course(organization: Organization, entry: CourseEntry, path: str) -> CourseAnswer:
    course = Course.objects.filter(organization=organization, code=entry.code).first()
    try:
        course = make_course(organization, entry) if course is None else change_course(course, entry, actor=SYSTEM)
    except DefinitionError as error:
        raise ProvisionError(f"{path}.{error.field}", error.message) from error
    _refuse_repetition(f"{path}.rooms", [("slug", one.slug) for one in entry.rooms])
    _refuse_repetition(f"{path}.assignments", [("slug", one.slug) for one in entry.assignments])
    rooms = [_room(course, one, f"{path}.rooms[{index}]") for index, one in enumerate(entry.rooms)]
    put_in_order(rooms)
    assignments = [
        _assignment(course, one, f"{path}.assignments[{index}]") for index, one in enumerate(entry.assignments)
    ]
    put_in_order(assignments)
    return CourseAnswer(
        **course_out(course).model_dump(),
        rooms=[_room_answer(room) for room in rooms],
        assignments=[assignment_out(assignment) for assignment in assignments],
    )


def _room(course: Course, entry: RoomDefinition, path: str) -> Room:
    room = Room.objects.filter(course=course, slug=entry.slug).first()
    try:
        return make_room(course, entry) if room is None else change_room(room, entry)
    except DefinitionError as error:
        raise ProvisionError(f"{path}.{error.field}", error.message) from error


def _room_answer(room: Room) -> RoomAnswer:
    return RoomAnswer(
        id=room.id,
        slug=room.slug,
        title=room.title,
        meeting_server=room.server.name if room.server else None,
        settings=room.settings,
        enabled=room.enabled,
        url=room_url(room),
    )


def _assignment(course: Course, entry: AssignmentDefinition, path: str) -> Assignment:
    assignment = Assignment.objects.filter(course=course, slug=entry.slug).select_related("course", "module").first()
    try:
        return make_assignment(course, entry) if assignment is None else change_assignment(assignment, entry)
    except DefinitionError as error:
        raise ProvisionError(f"{path}.{error.field}", error.message) from error
