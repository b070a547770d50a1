"""The base of every admin: rows, choices, filters, forms and permissions end at the user's organizations."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.admin import ShowFacets
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Field, ForeignKey, Model, QuerySet, URLField
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.html import format_html
from unfold.admin import ModelAdmin, StackedInline, TabularInline
from unfold.contrib.filters.admin import DropdownFilter, RelatedDropdownFilter
from unfold.decorators import display

from organizations.encryption import EncryptedTextField
from organizations.models import Organization
from organizations.tenancy import organization_id_of, path_of, scope_of, within


def moment_column(name: str, description: str, *, empty: str = "—") -> Any:
    """A list column for the time in a field: in UTC, on one line, sortable."""

    @display(description=description, ordering=name)
    def column(model_admin: Any, obj: Any) -> str:
        at: datetime | None = getattr(obj, name)
        if at is None:
            return empty
        at = at.astimezone(UTC)
        return format_html(
            '<time class="p-nowrap" datetime="{}" title="{} UTC">{}</time>',
            at.isoformat(timespec="seconds"),
            f"{at:%d %B %Y, %H:%M:%S}",
            f"{at.day} {at:%b %Y, %H:%M}",
        )

    return column


READ = frozenset({"view"})
EDIT = frozenset({"view", "add", "change"})
MANAGE = frozenset({"view", "add", "change", "delete"})


class TenantForm(forms.ModelForm):
    """Refuses references into another organization, and checks constraints that hidden parents take part in."""

    tenant_id: UUID | None = None  # the organization of a new row, where the user has only one

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding and self.tenant_id and path_of(type(self.instance)) == "organization":
            self.instance.organization_id = self.tenant_id

    def _get_validation_exclusions(self) -> set[str]:
        # Django leaves out constraints that name a field the form does not show; the hidden parent is set, so
        # "a course with this code exists" must be a form error, not a database error.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return {name for name in excluded if not self._is_set_reference(name)}

    def _is_set_reference(self, name: str) -> bool:
        field = self._meta.model._meta.get_field(name)
        return isinstance(field, ForeignKey) and getattr(self.instance, field.attname) is not None

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        own = self._organization_of(self.instance)
        for field in self.instance._meta.concrete_fields:
            if not isinstance(field, ForeignKey) or path_of(field.related_model) is None:
                continue
            if getattr(self.instance, field.attname) is None:
                continue
            try:
                other = self._organization_of(getattr(self.instance, field.name))
            except ObjectDoesNotExist:
                continue  # a parent that is being made in the same request
            if own is None:
                own = other
            elif other is not None and other != own:
                name = field.name if field.name in self.fields else None
                self.add_error(name, "This belongs to another organization.")

    @staticmethod
    def _organization_of(row: Model) -> UUID | None:
        try:
            return organization_id_of(row)
        except ObjectDoesNotExist:
            return None


class TenantRelatedFilter(RelatedDropdownFilter):
    """A list filter whose choices are the user's own rows."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        rows = scope_of(request).limit(field.remote_field.model._default_manager.all())
        return [(row.pk, str(row)) for row in rows[:500]]

    def has_output(self) -> bool:
        return True


class OrganizationFilter(DropdownFilter):
    """For whoever sees several organizations."""

    title = "organization"
    parameter_name = "organization"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = scope_of(request).limit(Organization.objects.all())
        return [(str(pk), name) for pk, name in rows.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        try:
            return within(queryset, [UUID(self.value())])
        except ValueError:
            return queryset.none()


class TenantRows:
    """What admins and inlines share."""

    model: type[Model]
    owners_may: frozenset[str] = READ
    operators_may: frozenset[str] | None = None  # None: the same

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return scope_of(request).limit(super().get_queryset(request))  # type: ignore[misc]

    def _allows(self, right: str, request: HttpRequest, obj: Any = None) -> bool:
        scope = scope_of(request)
        if not scope.opens_admin:
            return False
        operators_may = self.owners_may if self.operators_may is None else self.operators_may
        if right not in (operators_may if scope.is_operator else self.owners_may):
            return False
        return not isinstance(obj, Model) or scope.covers(obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows("view", request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows("add", request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows("change", request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allows("delete", request, obj)

    def choices_for(self, db_field: Any, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that a reference may name: the user's own, and once the object is known those of its tenant."""
        rows = scope_of(request).limit(rows)
        tenant_id = getattr(request, "_tenant_of_object", None)
        return rows if tenant_id is None or path_of(rows.model) is None else within(rows, [tenant_id])

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        rows = kwargs.get("queryset")
        if rows is None:
            rows = db_field.remote_field.model._default_manager.all()
        kwargs["queryset"] = self.choices_for(db_field, request, rows)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        rows = kwargs.get("queryset")
        if rows is None:
            rows = db_field.remote_field.model._default_manager.all()
        kwargs["queryset"] = self.choices_for(db_field, request, rows)
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:  # type: ignore[type-arg]
        if isinstance(db_field, URLField):
            kwargs.setdefault("assume_scheme", "https")
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget  # no pop-up windows: other pages are a click away
        return field


class TenantAdmin(TenantRows, ModelAdmin):
    """The base admin. An admin declares `owners_may` (and `operators_may` where theirs differ).

    The row's organization is never shown to the owner of one: it is set. Nothing is deleted in bulk.
    """

    form = TenantForm
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # counting every choice of every filter costs a query each
    list_filter_submit = True
    list_per_page = 50
    view_on_site = False
    compressed_fields = True

    # Rows

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        path = path_of(self.model)
        return rows.select_related(path) if path and scope_of(request).sees_many else rows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        obj = super().get_object(request, object_id, from_field)
        if obj is not None:
            request._tenant_of_object = organization_id_of(obj)  # type: ignore[attr-defined]
        return obj

    def load(self, request: HttpRequest, object_id: str, right: str = "view") -> Any:
        """The object of a page of our own; another organization's is as good as missing.

        Raises Http404.
        """
        obj = self.get_object(request, object_id)
        if obj is None or not self._allows(right, request, obj):
            raise Http404
        return obj

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # What nobody changes here has no history of changes.
        context["show_history"] = "change" in self.owners_may
        return super().render_change_form(request, context, *args, **kwargs)

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # What hangs below a row goes with it: rows that are otherwise read-only do not forbid it.
        deleted, counts, _, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(), protected

    # Lists

    @property
    def _organization_path(self) -> str | None:
        return path_of(self.model)

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        columns = list(super().get_list_display(request))
        if self._organization_path and scope_of(request).sees_many:
            columns.append("organization_column")
        return columns

    def organization_column(self, obj: Any) -> str:
        row = obj
        for name in str(self._organization_path).split("__"):
            row = getattr(row, name)
        return str(row)

    organization_column.short_description = "organization"  # type: ignore[attr-defined]

    def get_list_filter(self, request: HttpRequest) -> Sequence[Any]:
        filters = list(super().get_list_filter(request))
        if self._organization_path and scope_of(request).sees_many:
            filters.insert(0, OrganizationFilter)
        return filters

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # A secret or its hash cannot be guessed letter by letter through the address.
        name = lookup.split("__")[0]
        for field in self.model._meta.concrete_fields:
            if field.name == name and (isinstance(field, EncryptedTextField) or name in ("hash", "password")):
                return False
        return super().lookup_allowed(lookup, value, request)

    # Forms

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form_class = super().get_form(request, obj, change, **kwargs)
        if issubclass(form_class, TenantForm):
            form_class.tenant_id = scope_of(request).only_organization_id  # a class of this request's own
        return form_class

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> list[str]:
        excluded = list(super().get_exclude(request, obj) or ())
        if self._organization_path == "organization" and not self._chooses_organization(request, obj):
            excluded.append("organization")
        return excluded

    def _chooses_organization(self, request: HttpRequest, obj: Any) -> bool:
        return obj is None and scope_of(request).sees_many

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if self._organization_path != "organization" or not self._chooses_organization(request, obj):
            return fieldsets
        if any("organization" in _flat(options["fields"]) for _, options in fieldsets):
            return fieldsets
        (title, options), *others = fieldsets
        return [(title, {**options, "fields": ["organization", *options["fields"]]}), *others]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        # What hangs on a row is added once the row, and with it its organization, exists.
        return [] if obj is None else super().get_inlines(request, obj)

    def get_urls(self) -> list[URLPattern]:
        # Without the nameless redirect from <id>/ to <id>/change/, which answers for rows that are not there.
        return [pattern for pattern in super().get_urls() if pattern.name]

    # Pages of our own

    def page(
        self, request: HttpRequest, template: str, title: str, obj: Any = None, *, status: int = 200, **context: Any
    ) -> TemplateResponse:
        """A page in the admin's frame, with the way back to the list and to the object."""
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.model._meta,
                "original": obj,
                "object": obj,
                "has_view_permission": True,
                "page_url": request.path,
                **context,
            },
            status=status,
        )

    def url_name(self, name: str) -> str:
        """`admin:<app>_<model>_<name>`."""
        return f"{self.admin_site.name}:{self.model._meta.app_label}_{self.model._meta.model_name}_{name}"


def _flat(fields: Iterable[Any]) -> list[str]:
    return [name for entry in fields for name in (entry if isinstance(entry, list | tuple) else [entry])]


class TenantTabularInline(TenantRows, TabularInline):
    form = TenantForm
    extra = 0
    show_change_link = False


class TenantStackedInline(TenantRows, StackedInline):
    form = TenantForm
    extra = 0
