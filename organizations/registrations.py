"""LTI 1.3 registrations and deployments: checked, made, activated, approved (D1 to D4, design §5)."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from django.db import IntegrityError, transaction

from lti.products import PRODUCTS, STANDARD, Product, product_of, product_of_issuer
from lti.return_url import safe_http_url
from lti.v1p3.key_sets import KeySetUnreadable, parse_pem
from organizations.models import Deployment, Installation, LtiKey, Organization, Registration, User
from organizations.signals import registration_created

ISSUER_LIMIT = 255


class RegistrationRefused(ValueError):
    """A registration that cannot be; `field` names what is wrong with it, `str()` says what."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Platform:
    """A platform as a registration describes it: what the LMS shows to its administrator for copying."""

    issuer: str
    client_id: str
    auth_login_url: str
    token_url: str
    jwks_url: str = ""
    public_key_pem: str = ""
    token_audience: str = ""

    @classmethod
    def of(cls, registration: Registration) -> "Platform":
        """The platform of a stored registration."""
        return cls(**{name: getattr(registration, name) for name in cls.__dataclass_fields__})

    @property
    def endpoints(self) -> dict[str, str]:
        """Its addresses by field name, those that are given."""
        given = {"auth_login_url": self.auth_login_url, "token_url": self.token_url, "jwks_url": self.jwks_url}
        return {name: url for name, url in given.items() if url}

    @property
    def product(self) -> Product:
        """The LMS, by the issuer that its customers share or by the hosts of its cloud."""
        product = product_of_issuer(self.issuer)
        if product is not STANDARD:
            return product
        hosts = [urlsplit(url).hostname or "" for url in (self.issuer, *self.endpoints.values()) if safe_http_url(url)]
        for product in PRODUCTS:
            domains = [pattern.removeprefix("*.") for pattern in product.service_hosts]
            if any(host == domain or host.endswith(f".{domain}") for host in hosts for domain in domains):
                return product
        return STANDARD


def check_platform(platform: Platform, *, allow_http: bool) -> list[RegistrationRefused]:
    """What cannot be, field by field: addresses that are none, http where it is not allowed, no key to verify with."""
    found = []
    parts = _parts(platform.issuer)
    if parts is None or parts.query or parts.fragment or len(platform.issuer) > ISSUER_LIMIT:
        found.append(RegistrationRefused("issuer", "must be a web address without a query: copy it from the LMS"))
    if not platform.client_id or not platform.client_id.isprintable():
        found.append(RegistrationRefused("client_id", "is required"))
    schemes = ("https", "http") if allow_http else ("https",)
    missing = [name for name in ("auth_login_url", "token_url") if not getattr(platform, name)]
    found += [RegistrationRefused(name, "is required") for name in missing]
    for name, url in platform.endpoints.items():
        parts = _parts(url)
        if parts is None or parts.scheme not in schemes:
            words = " or ".join(f"{scheme}://" for scheme in schemes)
            found.append(RegistrationRefused(name, f"must be a web address that begins with {words}"))
    if not platform.jwks_url and not platform.public_key_pem:
        found.append(RegistrationRefused("jwks_url", "is required, or the public key in its place"))
    if platform.public_key_pem:
        try:
            parse_pem(platform.public_key_pem)
        except KeySetUnreadable as error:
            found.append(RegistrationRefused("public_key_pem", f"cannot be used: {error.reason}"))
    return found


def doubts_about(platform: Platform, organization: Organization, own: Registration | None = None) -> list[str]:
    """What is allowed and yet looks like a slip, in words: issuers are compared to the letter (D4).

    `own` is the registration that is being changed.
    """
    issuer = _parts(platform.issuer)
    if issuer is None:
        return []
    doubts = []
    if platform.issuer.endswith("/"):
        doubts.append(
            "The issuer ends with a slash. It is compared to the letter: is that how the LMS itself writes it?"
        )
    if issuer.scheme != "https":
        doubts.append("The issuer begins with http://. Nearly every LMS has https:// there.")
    if issuer.netloc != issuer.netloc.lower():
        doubts.append("The issuer has capital letters in its host. Is that how the LMS itself writes it?")
    if platform.product is STANDARD:
        doubts += _doubts_about_endpoints(platform, issuer)
    others = Registration.objects.filter(organization=organization)
    if own is not None:
        others = others.exclude(pk=own.pk)
    for other in others:
        if other.issuer != platform.issuer and _likeness(other.issuer) == _likeness(platform.issuer):
            doubts.append(
                f"There is a registration with the issuer {other.issuer} already, which differs in a slash, "
                "http or the port only. The LMS uses one of the two."
            )
            break
    return doubts


def _doubts_about_endpoints(platform: Platform, issuer: SplitResult) -> list[str]:
    """An LMS of one's own has all its addresses at one host; a cloud (Canvas, Brightspace, …) does not."""
    parts = {name: _parts(url) for name, url in platform.endpoints.items()}
    hosts = {part.hostname for part in parts.values() if part is not None}
    listed = ", ".join(sorted(str(host) for host in hosts))
    ports = {_port(part) for part in parts.values() if part is not None and part.hostname == issuer.hostname}
    doubts = []
    if hosts and issuer.hostname not in hosts:
        doubts.append(
            f"The issuer is {issuer.hostname}, but no address is there ({', '.join(sorted(map(str, hosts)))})."
        )
    elif len(hosts) > 1:
        doubts.append(f"The addresses are at several hosts: {listed}.")
    if ports and ports != {_port(issuer)}:
        doubts.append(
            f"The issuer's port is {_port(issuer)}, that of the addresses {', '.join(map(str, sorted(ports)))}."
        )
    return doubts


def _parts(url: str) -> SplitResult | None:
    return urlsplit(url) if safe_http_url(url) else None


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _likeness(issuer: str) -> str:
    """The issuer without what is easily mistaken."""
    parts = _parts(issuer)
    return f"{parts.hostname}{parts.path.rstrip('/')}".lower() if parts else issuer


def make_registration(
    installation: Installation,
    platform: Platform,
    *,
    deployment_ids: Iterable[str] = (),
    actor: User | None = None,
    state: str = Registration.State.ACTIVE,
    enabled: bool = True,
    configuration_url: str = "",
    configuration_token: str = "",
    upgraded_key: LtiKey | None = None,
) -> Registration:
    """A new registration of the installation with these deployments, and the event that tells of it.

    Deployments are approved with an active registration, and wait with one that waits. What the LMS's product is known
    for is filled in: its service hosts, and the audience of its tokens. The caller has checked the platform. Raises
    `RegistrationRefused` when issuer and client id are registered already (D1).
    """
    with transaction.atomic():
        registration = Registration(
            organization_id=installation.organization_id,
            installation=installation,
            state=state,
            enabled=enabled,
            configuration_url=configuration_url,
            configuration_token=configuration_token,
            upgraded_key=upgraded_key,
        )
        _write(registration, platform)
        try:
            with transaction.atomic():
                registration.save(force_insert=True)
        except IntegrityError as error:
            raise RegistrationRefused("client_id", "is registered already with this issuer") from error
        approved = state == Registration.State.ACTIVE
        for deployment_id in dict.fromkeys(deployment_ids):
            Deployment.objects.create(
                registration=registration,
                deployment_id=deployment_id,
                installation=installation,
                state=Deployment.State.APPROVED if approved else Deployment.State.PENDING,
            )
        add_service_hosts(installation, platform.product.service_hosts)
        registration_created.send(Registration, registration=registration, actor=actor)
    return registration


def change_registration(registration: Registration, platform: Platform) -> bool:
    """Writes what differs from the stored registration; whether anything did. The caller has checked the platform."""
    before = Platform.of(registration)
    _write(registration, platform)
    if Platform.of(registration) == before:
        return False
    registration.save(update_fields=list(Platform.__dataclass_fields__))
    add_service_hosts(registration.installation, platform.product.service_hosts)
    return True


def _write(registration: Registration, platform: Platform) -> None:
    for name in Platform.__dataclass_fields__:
        setattr(registration, name, getattr(platform, name))
    # Brightspace takes one audience whatever the token URL is (D34).
    registration.token_audience = platform.token_audience or platform.product.token_audience


def add_service_hosts(installation: Installation, hosts: Iterable[str]) -> None:
    """Grades and tokens may go to these hosts, too (J9)."""
    with transaction.atomic():
        # no_key: rows inserted by launches refer to the installation, and must not wait.
        fresh = Installation.objects.select_for_update(no_key=True).get(pk=installation.pk)
        new = [host.lower() for host in hosts if host.lower() not in fresh.service_hosts]
        if new:
            fresh.service_hosts = [*fresh.service_hosts, *dict.fromkeys(new)]
            fresh.pending_service_hosts = [host for host in fresh.pending_service_hosts if host not in new]
            fresh.save(update_fields=["service_hosts", "pending_service_hosts"])
        installation.service_hosts = fresh.service_hosts
        installation.pending_service_hosts = fresh.pending_service_hosts


def activate_registration(registration: Registration, installation: Installation) -> None:
    """Lets a registration that waited in, and with it the deployments that the LMS named when it registered.

    `installation` is the one that they belong to. When it is another than the one made for the occasion, and nothing
    else is in that, that one goes.
    """
    with transaction.atomic():
        proposed = registration.installation
        registration.state = Registration.State.ACTIVE
        registration.installation = installation
        registration.save(update_fields=["state", "installation"])
        registration.deployments.filter(state=Deployment.State.PENDING).update(
            state=Deployment.State.APPROVED, installation=installation
        )
        add_service_hosts(installation, Platform.of(registration).product.service_hosts)
        if proposed.pk != installation.pk:
            if not installation.lms:
                Installation.objects.filter(pk=installation.pk, lms="").update(lms=proposed.lms)
            _drop_when_empty(proposed)


def refuse_registration(registration: Registration) -> None:
    """Removes a registration that waited: the LMS cannot come in, and may be invited anew."""
    with transaction.atomic():
        proposed = registration.installation
        registration.delete()
        _drop_when_empty(proposed)


def _drop_when_empty(installation: Installation) -> None:
    """Removes an installation that nothing hangs on: it was made for a registration that went elsewhere."""
    parts = [str(relation.get_accessor_name()) for relation in Installation._meta.related_objects]
    if not any(getattr(installation, part).exists() for part in parts):
        installation.delete()


def approve_deployment(deployment: Deployment, installation: Installation) -> None:
    """Lets a deployment in, its people, courses and links belonging to the installation.

    It says that its ids and the installation's other ids (LTI 1.1 ones, other deployments') are one namespace: equal
    user ids are one person (design §5).
    """
    deployment.state = Deployment.State.APPROVED
    deployment.installation = installation
    deployment.save(update_fields=["state", "installation"])


def withdraw_deployment(deployment: Deployment) -> None:
    """Its launches are refused again until somebody approves it; its people and their grades stay."""
    deployment.state = Deployment.State.PENDING
    deployment.save(update_fields=["state"])


def lms_of(family: str, platform: Platform) -> str:
    """The canonical name of the LMS by its product family code, else by its addresses; empty where neither tells."""
    family = " ".join(family.lower().split())
    for product in PRODUCTS:
        if family and family in product.family_codes:
            return product.name
    return platform.product.name


def title_of(lms: str) -> str:
    """How the LMS calls itself, or "LMS"."""
    return product_of(lms).title if product_of(lms) is not STANDARD else "LMS"
