"""Users, for operators: who signs in directly. Passwords are set by mail only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from organizations.models import Membership, User
from organizations.tenancy import scope_of
from organizations.tenant_admin import TenantAdmin, TenantTabularInline, moment_column


class MembershipInline(TenantTabularInline):
    model = Membership
    fields = ["organization", "role", "created_at"]
    readonly_fields = fields


@admin.register(User)
class UserAdmin(TenantAdmin):
    owners_may = frozenset()
    operators_may = frozenset({"view", "change"})
    list_display = ["email", "name", "organizations_column", "sign_in_column", "is_active", "is_superuser"]
    sign_in_column = moment_column("last_login", "Last sign-in", empty="never")
    list_filter = ["is_active", "is_superuser"]
    search_fields = ["email", "name"]
    ordering = ["email"]
    fields = ["email", "name", "is_active", "operator_column", "last_login", "date_joined"]
    readonly_fields = ["operator_column", "last_login", "date_joined"]
    inlines = [MembershipInline]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("memberships__organization")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = list(super().get_readonly_fields(request, obj))
        # Nobody locks themselves out.
        return [*fields, "is_active"] if obj is not None and obj == scope_of(request).user else fields

    @display(description="Organizations")
    def organizations_column(self, obj: User) -> str:
        rows = [f"{row.organization} ({row.get_role_display().lower()})" for row in obj.memberships.all()]
        return ", ".join(rows) or "—"

    @display(description="Operator", boolean=True)
    def operator_column(self, obj: User) -> bool:
        return obj.is_superuser
