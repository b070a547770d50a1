"""Who sees what in the admin: an owner the rows of their own enabled organizations, an operator all, others nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from organizations.models import Membership, User


@dataclass(frozen=True)
class Scope:
    """What one signed-in user may see: `organization_ids` are the enabled organizations they own."""

    user: User | None
    is_operator: bool
    organization_ids: frozenset[UUID]

    @property
    def actor(self) -> User:
        """The user, where a deed needs one. Raises ``LookupError`` for a stranger."""
        if self.user is None:
            raise LookupError("Nobody is signed in.")
        return self.user

    @property
    def opens_admin(self) -> bool:
        return self.is_operator or bool(self.organization_ids)

    @property
    def sees_many(self) -> bool:
        """Whether rows of more than one organization can stand in one list."""
        return self.is_operator or len(self.organization_ids) > 1

    @property
    def only_organization_id(self) -> UUID | None:
        """The organization of an owner of exactly one."""
        return next(iter(self.organization_ids)) if not self.sees_many and self.organization_ids else None

    @property
    def reach(self) -> frozenset[UUID] | None:
        """The organizations to count in; None stands for all of them."""
        return None if self.is_operator else self.organization_ids

    def owns(self, organization_id: UUID | None) -> bool:
        return organization_id in self.organization_ids

    def covers(self, obj: Model) -> bool:
        """Whether the object is one of this user's rows."""
        return self.is_operator or self.owns(organization_id_of(obj))

    def limit(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the queryset that this user may see. A model without a tenant is the operators' alone."""
        if self.is_operator:
            return queryset
        return within(queryset, self.organization_ids)


NOBODY = Scope(None, False, frozenset())


def scope_of(request: HttpRequest) -> Scope:
    """The scope of the request's user, read once per request."""
    user = request.user
    cached: tuple[Any, Scope] | None = getattr(request, "_tenant_scope", None)
    if cached is not None and cached[0] == user.pk:
        return cached[1]
    scope = _read_scope(user) if isinstance(user, User) and user.is_active else NOBODY
    request._tenant_scope = (user.pk, scope)  # type: ignore[attr-defined]
    return scope


def _read_scope(user: User) -> Scope:
    owned = user.memberships.filter(role=Membership.Role.OWNER, organization__enabled=True)
    return Scope(user, user.is_superuser, frozenset(owned.values_list("organization_id", flat=True)))


def path_of(model: type[Model]) -> str | None:
    """The model's ORM path to its organization: "" on the organization itself, None where there is no tenant."""
    return getattr(model, "organization_path", None)


def within(queryset: QuerySet[Any], organization_ids: Collection[UUID] | None) -> QuerySet[Any]:
    """The rows of these organizations (None: of all); nothing for a model without a tenant."""
    if organization_ids is None:
        return queryset
    path = path_of(queryset.model)
    if path is None:
        return queryset.none()
    return queryset.filter(**{f"{path}__in" if path else "pk__in": list(organization_ids)})


def organization_id_of(obj: Model) -> UUID | None:
    """The organization that a row belongs to; None without a tenant or while its parent is not chosen yet."""
    path = path_of(type(obj))
    if path is None:
        return None
    if path == "":
        return obj.pk
    *parents, last = path.split("__")
    row: Any = obj
    for name in parents:
        if getattr(row, f"{name}_id") is None:
            return None
        row = getattr(row, name)
    return getattr(row, f"{last}_id")
