"""People known to an organization, with the LMS accounts they come from."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from organizations.duplicates import likely_duplicates
from organizations.models import LmsAccount, Person
from organizations.tenancy import scope_of
from organizations.tenant_admin import READ, TenantAdmin, TenantRelatedFilter, TenantTabularInline, moment_column


class LmsAccountInline(TenantTabularInline):
    model = LmsAccount
    fields = ["installation", "lms_user_id", "username", "sourcedid", "is_test_user", "created_at"]
    readonly_fields = fields
    verbose_name_plural = "LMS accounts"


@admin.register(Person)
class PersonAdmin(TenantAdmin):
    owners_may = frozenset({"view", "change"})
    list_display = ["display_name", "email", "accounts_column", "since_column"]
    since_column = moment_column("created_at", "Since")
    search_fields = ["name", "email", "accounts__lms_user_id", "accounts__username"]
    list_filter = [("accounts__installation", TenantRelatedFilter)]
    fields = ["name", "given_name", "family_name", "email", "address_column", "user_column", "created_at"]
    readonly_fields = ["address_column", "user_column", "created_at"]
    inlines = [LmsAccountInline]
    change_form_after_template = "admin/organizations/person_after.html"
    list_before_template = "admin/organizations/person_list_before.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Person]:
        return super().get_queryset(request).select_related("user").prefetch_related("accounts__installation")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        scope = scope_of(request)
        # A hint for an organization's own people; whoever looks for somebody, or at many organizations, gets none.
        looks = not request.GET and not scope.is_operator
        duplicates = likely_duplicates(scope.limit(Person.objects.all())) if looks else []
        return super().changelist_view(request, {"duplicates": duplicates, **(extra_context or {})})

    @display(description="Known from")
    def accounts_column(self, obj: Person) -> str:
        return ", ".join(sorted({account.installation.name for account in obj.accounts.all()})) or "—"

    @display(description="Address verified")
    def address_column(self, obj: Person) -> str:
        return "yes, by an LMS whose addresses are trusted" if obj.email_verified else "no"

    @display(description="Signs in directly")
    def user_column(self, obj: Person) -> str:
        return "yes" if obj.user_id else "no, from the LMS only"


@admin.register(LmsAccount)
class LmsAccountAdmin(TenantAdmin):
    owners_may = READ
    created_column = moment_column("created_at", "Since")
    list_display = ["lms_user_id", "installation", "person", "username", "created_column"]
    list_select_related = ["installation", "person"]
    list_filter = [("installation", TenantRelatedFilter), "is_test_user"]
    search_fields = ["lms_user_id", "username", "person__name"]
    fields: Any = ["installation", "lms_user_id", "person", "username", "sourcedid", "is_test_user", "created_at"]
