"""The file that `provision` reads (contract §1), and the document that it answers with."""

from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, StringConstraints

from api.schemas.courses import AssignmentOut, CourseOut
from courses.definitions import CourseDefinition
from organizations.input_types import (
    Colour,
    EmailAddress,
    EmptyIsNone,
    GuardedAddress,
    Input,
    Line,
    Secret,
    SecureAddress,
    Text,
)
from organizations.service_hosts import is_host_pattern
from recordings.definitions import AssignmentDefinition, RoomDefinition
from recordings.room_settings import checked_settings


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _host_pattern(host: str) -> str:
    if not is_host_pattern(host.lower()):
        raise ValueError("must be a host such as lms.example or *.instructure.com, without https:// and path")
    return host.lower()


Switch = Annotated[bool, Field(strict=True)]
WholeNumber = Annotated[int, Field(strict=True, ge=1)]
OrganizationSlug = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
ConsumerKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~:@/+=-]{1,255}$")]
Token = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")]
# Canvas's client ids and Moodle's deployment ids are numbers, which YAML needs no quotes for.
LmsId = Annotated[Line, BeforeValidator(_number_as_text)]
HostPattern = Annotated[Line, AfterValidator(_host_pattern)]
BrandColour = Annotated[Colour | None, EmptyIsNone]
SessionSettings = Annotated[dict[str, Any], AfterValidator(checked_settings)]


class MemberEntry(Input):
    """An owner or teacher. The password left out: an unusable one for a new user, else the one they have."""

    email: EmailAddress
    password: Annotated[Secret | None, EmptyIsNone] = None


class BrandingEntry(Input):
    """The organization's own look."""

    logo_url: Annotated[SecureAddress | None, EmptyIsNone] = None
    primary_color: BrandColour = None
    secondary_color: BrandColour = None
    background_color: BrandColour = None


class MeetingPolicyEntry(Input):
    """What the organization says about live sessions."""

    defaults: SessionSettings = {}
    forced: SessionSettings = {}
    max_duration: WholeNumber | None = None
    max_participants: WholeNumber | None = None
    recording_days: WholeNumber | None = None


def _known_time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("there is no such time zone: use a name such as Europe/Berlin, or UTC")
    return name


TimeZone = Annotated[str, AfterValidator(_known_time_zone)]


class SettingsEntry(Input):
    """The organization's settings."""

    launch_log_days: Annotated[int, Field(strict=True, ge=1, le=3650)] | None = None
    time_zone: TimeZone = "UTC"
    grade_digest: Switch = True
    branding: BrandingEntry | None = None
    meeting_policy: MeetingPolicyEntry | None = None


class KeyEntry(Input):
    """An LTI 1.1 key; what is left out is made."""

    consumer_key: Annotated[ConsumerKey | None, EmptyIsNone] = None
    shared_secret: Annotated[Secret | None, EmptyIsNone] = None
    enabled: Switch = True


class RegistrationEntry(Input):
    """An LTI 1.3 registration, found by issuer and client id. A new one needs its addresses."""

    issuer: Line
    client_id: LmsId
    deployment_ids: list[LmsId] = []
    auth_login_url: Annotated[GuardedAddress | None, EmptyIsNone] = None
    token_url: Annotated[GuardedAddress | None, EmptyIsNone] = None
    jwks_url: Annotated[GuardedAddress | None, EmptyIsNone] = None
    public_key_pem: Annotated[Text | None, EmptyIsNone] = None
    token_audience: Annotated[Line | None, EmptyIsNone] = None
    service_hosts: list[HostPattern] = []
    enabled: Switch = True


class InviteEntry(Input):
    """A one-time invite for dynamic registration."""

    name: Line


class InstallationEntry(Input):
    """An LMS, found by its name."""

    name: Line
    enabled: Switch = True
    verified_emails: Switch = False
    keys: list[KeyEntry] = []
    registrations: list[RegistrationEntry] = []


class TokenEntry(Input):
    """An API token, found by its name; made where left out."""

    name: Line
    token: Annotated[Token | None, EmptyIsNone] = None
    enabled: Switch = True


class WebhookEntry(Input):
    """A webhook, found by its URL; its secret is made where left out."""

    url: GuardedAddress
    events: list[Line] = ["*"]
    description: Annotated[str, StringConstraints(max_length=255)] = ""
    secret: Annotated[Secret | None, EmptyIsNone] = None
    enabled: Switch = True


class MeetingServerEntry(Input):
    """A meeting server, found by its name. A new one needs its address, key and secret."""

    name: Line
    kind: Literal["plugnmeet", "sandbox"] = "plugnmeet"
    url: Annotated[GuardedAddress | None, EmptyIsNone] = None
    api_key: Annotated[Line | None, EmptyIsNone] = None
    api_secret: Annotated[Secret | None, EmptyIsNone] = None
    enabled: Switch = True
    default: Switch = False


class CourseEntry(CourseDefinition):
    """A course, found by its code, with its rooms and assignments in their order."""

    rooms: list[RoomDefinition] = []
    assignments: list[AssignmentDefinition] = []


class OrganizationEntry(Input):
    """An organization, found by its slug."""

    slug: OrganizationSlug
    enabled: Switch = True
    name: Line = Field(default="", validate_default=False)
    owners: list[MemberEntry] = []
    teachers: list[MemberEntry] = []
    settings: SettingsEntry = SettingsEntry()
    invites: list[InviteEntry] = []
    installations: list[InstallationEntry] = []
    meeting_servers: list[MeetingServerEntry] = []
    webhooks: list[WebhookEntry] = []
    api_tokens: list[TokenEntry] = []
    courses: list[CourseEntry] = []


class ProvisionFile(Input):
    """The whole file."""

    organizations: list[OrganizationEntry]


class MemberAnswer(BaseModel):
    """A member."""

    id: UUID
    email: str


class SettingsAnswer(BaseModel):
    """The settings as they are now."""

    launch_log_days: int | None
    time_zone: str
    grade_digest: bool
    branding: dict[str, Any]
    meeting_policy: dict[str, Any]


class KeyAnswer(BaseModel):
    """A key; its secret only when it was made now."""

    consumer_key: str
    shared_secret: str = Field(default="", repr=False)
    enabled: bool


class RegistrationAnswer(BaseModel):
    """An LTI 1.3 registration with its approved deployments."""

    id: UUID
    issuer: str
    client_id: str
    deployment_ids: list[str]
    auth_login_url: str
    token_url: str
    jwks_url: str
    public_key_pem: str
    token_audience: str
    service_hosts: list[str]
    enabled: bool


class InviteAnswer(BaseModel):
    """An invite with its link, which works once and until then."""

    id: UUID
    name: str
    registration_url: str = Field(repr=False)
    expires_at: AwareDatetime


class InstallationAnswer(BaseModel):
    """An LMS with the keys and registrations that the file names."""

    id: UUID
    name: str
    enabled: bool
    verified_emails: bool
    keys: list[KeyAnswer]
    registrations: list[RegistrationAnswer]


class TokenAnswer(BaseModel):
    """An API token; its text only when it was made now."""

    id: UUID
    name: str
    token: str = Field(default="", repr=False)
    enabled: bool


class WebhookAnswer(BaseModel):
    """A webhook; its secret only when it was made now."""

    id: UUID
    url: str
    events: list[str]
    description: str
    secret: str = Field(default="", repr=False)
    enabled: bool


class MeetingServerAnswer(BaseModel):
    """A meeting server, and the URL that it calls with what happens there. Its secret is not shown."""

    id: UUID
    name: str
    kind: str
    url: str
    api_key: str
    enabled: bool
    default: bool
    webhook_url: str


class RoomAnswer(BaseModel):
    """A room with its LTI integration URL."""

    id: UUID
    slug: str
    title: str
    meeting_server: str | None
    settings: dict[str, Any]
    enabled: bool
    url: str


class CourseAnswer(CourseOut):
    """A course with the rooms and assignments that the file names."""

    rooms: list[RoomAnswer]
    assignments: list[AssignmentOut]


class OrganizationAnswer(BaseModel):
    """An organization with everything that the file names of it, and its tool values."""

    id: UUID
    slug: str
    enabled: bool
    name: str
    owners: list[MemberAnswer]
    teachers: list[MemberAnswer]
    settings: SettingsAnswer
    login_url: str
    launch_url: str
    jwks_url: str
    config_url: str
    xml_config_url: str
    invites: list[InviteAnswer]
    installations: list[InstallationAnswer]
    meeting_servers: list[MeetingServerAnswer]
    webhooks: list[WebhookAnswer]
    api_tokens: list[TokenAnswer]
    courses: list[CourseAnswer]


class ProvisionAnswer(BaseModel):
    """The whole answer. Dump it without what is unset: secrets are there only when made now."""

    organizations: list[OrganizationAnswer]
