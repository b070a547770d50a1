"""Courses, what is in them, who takes part, and which LMS course and link opens what."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from courses import overview  # noqa: F401 - this room's part of the home page
from courses.addresses import assignment_url, constant_url, enroll_url
from courses.copying import reason_to_keep
from courses.course_settings import checked_lms_course_url, note_changed_settings
from courses.models import Assignment, Course, Enrolment, LmsCourse, Module, ResourceLink, Submission
from events.log import Actor
from organizations.tenancy import scope_of
from organizations.tenant_admin import (
    MANAGE,
    READ,
    TenantAdmin,
    TenantForm,
    TenantRelatedFilter,
    TenantTabularInline,
    moment_column,
)


class ModuleInline(TenantTabularInline):
    model = Module
    owners_may = MANAGE
    fields = ["name", "position"]
    verbose_name_plural = "modules"


class CourseForm(TenantForm):
    """The course LMS URL is followed by people: as on the course's own LTI/LMS page."""

    class Meta:
        model = Course
        fields = ["name"]  # the admin says which

    def clean_lms_course_url(self) -> str:
        return checked_lms_course_url(self.cleaned_data["lms_course_url"])


@admin.register(Course)
class CourseAdmin(TenantAdmin):
    form = CourseForm
    owners_may = MANAGE
    list_display = ["name", "code", "assignments_column", "people_column", "lti_enabled", "archived"]
    list_filter = ["archived", "lti_enabled", "enroll_only"]
    search_fields = ["name", "code"]
    fieldsets = (
        (None, {"fields": ["name", "code", "archived"]}),
        ("LTI", {"fields": ["lti_enabled", "enroll_only", "constant_urls", "course_copy", "lms_course_url"]}),
        (
            "In the LMS",
            {"fields": ["hide_not_started", "filter_learners_for_mentors", "iframe_width", "iframe_height"]},
        ),
        ("Grades", {"fields": ["release_grades_automatically", "send_grade", "public_feedback_link"]}),
    )
    inlines = [ModuleInline]
    change_form_outer_after_template = "admin/courses/course_after.html"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if change:
                note_changed_settings(obj, form.changed_data, Actor.of(scope_of(request).actor))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Course]:
        assignments = Assignment.objects.filter(course=OuterRef("pk")).order_by().values("course")
        people = Enrolment.objects.filter(course=OuterRef("pk")).order_by().values("course")
        return (
            super()
            .get_queryset(request)
            .annotate(
                assignment_count=Subquery(assignments.annotate(found=Count("pk")).values("found")),
                people_count=Subquery(people.annotate(found=Count("pk")).values("found")),
            )
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Deleting takes the scores along: a course with people in it is archived.
        empty = not isinstance(obj, Course) or not obj.enrolments.exists()
        return super().has_delete_permission(request, obj) and empty

    @display(description="Assignments", ordering="assignment_count")
    def assignments_column(self, obj: Any) -> int:
        return obj.assignment_count or 0

    @display(description="People", ordering="people_count")
    def people_column(self, obj: Any) -> int:
        return obj.people_count or 0

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        course = self.load(request, object_id)
        context = {
            "course": course,
            "enroll_url": enroll_url(course),
            "assignments": list(course.assignments.select_related("module")[:200]),
            "lms_courses": list(course.lms_courses.select_related("installation")[:50]),
            "copies": list(course.copies.order_by("-copied_at")[:20]),
            "copy_can_be_undone": course.copied_at is not None and not reason_to_keep(course),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)


class AssignmentForm(TenantForm):
    """Dates in order, a link where the kind needs one, and a module of the assignment's own course."""

    class Meta:
        model = Assignment
        fields = ["title"]  # the admin says which

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        course = cleaned.get("course") or (self.instance.course if self.instance.course_id else None)
        module = cleaned.get("module")
        if module and course and module.course_id != course.pk:
            self.add_error("module", "This module is in another course.")
        if cleaned.get("kind") == Assignment.Kind.LINK and not cleaned.get("content_url"):
            self.add_error("content_url", "A link needs the address of its content application.")
        dates = [("opens_at", "closes_at"), ("opens_at", "due_at"), ("due_at", "closes_at")]
        for first, second in dates:
            if cleaned.get(first) and cleaned.get(second) and cleaned[first] > cleaned[second]:
                self.add_error(second, ValidationError("This comes before the date above."))
                break
        return cleaned


@admin.register(Assignment)
class AssignmentAdmin(TenantAdmin):
    form = AssignmentForm
    owners_may = MANAGE
    list_display = ["title", "course", "kind", "points_possible", "due_column", "enabled"]
    due_column = moment_column("due_at", "Due")
    list_select_related = ["course"]
    list_filter = [("course", TenantRelatedFilter), "kind", "enabled"]
    search_fields = ["title", "slug", "course__name", "course__code"]
    autocomplete_fields = ["course"]
    fieldsets: tuple[tuple[str | None, dict[str, Any]], ...] = (
        (None, {"fields": ["course", "module", "title", "slug", "kind", "enabled"]}),
        ("Work", {"fields": ["points_possible", "body", "content_url"]}),
        ("Time", {"fields": ["opens_at", "due_at", "closes_at"], "description": "All times are UTC."}),
        ("Grades and order", {"fields": ["send_grade", "position"]}),
    )
    change_form_before_template = "admin/courses/assignment_before.html"

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {"slug": ("title",)} if obj is None else {}

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "module" and not getattr(request, "_course_of_assignment", None):
            field.label_from_instance = lambda module: f"{module.course}: {module}"
        return field

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Links in the LMS lead to this assignment in this course.
        return ["course"] if obj is not None else []

    def choices_for(self, db_field: Any, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        rows = super().choices_for(db_field, request, rows)
        if db_field.name == "module":
            course_id = getattr(request, "_course_of_assignment", None)
            rows = rows.filter(course_id=course_id) if course_id else rows.select_related("course")
        return rows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        assignment = super().get_object(request, object_id, from_field)
        request._course_of_assignment = assignment.course_id if assignment else None  # type: ignore[attr-defined]
        return assignment

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        unused = not isinstance(obj, Assignment) or not (obj.scores.exists() or obj.submissions.exists())
        return super().has_delete_permission(request, obj) and unused

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        assignment = self.load(request, object_id)
        context = {
            "assignment": assignment,
            "assignment_url": assignment_url(assignment),
            "constant_url": constant_url(assignment) if assignment.course.constant_urls else "",
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)


@admin.register(Module)
class ModuleAdmin(TenantAdmin):
    owners_may = MANAGE
    list_display = ["name", "course", "position"]
    list_select_related = ["course"]
    list_filter = [("course", TenantRelatedFilter)]
    search_fields = ["name", "course__name"]
    autocomplete_fields = ["course"]
    fields = ["course", "name", "position"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["course"] if obj is not None else []


@admin.register(Enrolment)
class EnrolmentAdmin(TenantAdmin):
    """Comes from the LMS: read-only."""

    owners_may = READ
    list_display = ["person", "course", "role", "state", "launch_column"]
    launch_column = moment_column("last_launch_at", "Last launch")
    list_select_related = ["person", "course"]
    list_filter = [("course", TenantRelatedFilter), "role", "state"]
    search_fields = ["person__name", "person__email", "course__name", "course__code"]
    ordering = ["-id"]
    fields = ["person", "course", "role", "state", "last_launch_at", "created_at"]


class ResourceLinkInline(TenantTabularInline):
    model = ResourceLink
    fields = ["title", "resource_link_id", "assignment", "course", "created_at"]
    readonly_fields = fields
    verbose_name_plural = "links"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ResourceLink]:
        return super().get_queryset(request).select_related("assignment", "course")


@admin.register(LmsCourse)
class LmsCourseAdmin(TenantAdmin):
    """Which course of ours an LMS course opens."""

    owners_may = frozenset({"view", "change"})
    list_display = ["name_column", "installation", "course", "links_column", "made_column"]
    made_column = moment_column("created_at", "Since")
    list_select_related = ["installation", "course"]
    list_filter = [("installation", TenantRelatedFilter), ("course", TenantRelatedFilter)]
    search_fields = ["title", "label", "context_id", "course__name"]
    autocomplete_fields = ["course"]
    ordering = ["-id"]
    fields = ["title", "label", "context_id", "installation", "course", "created_at"]
    readonly_fields = ["title", "label", "context_id", "installation", "created_at"]
    inlines = [ResourceLinkInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[LmsCourse]:
        links = ResourceLink.objects.filter(lms_course=OuterRef("pk")).order_by().values("lms_course")
        found = links.annotate(found=Count("pk")).values("found")
        return super().get_queryset(request).annotate(link_count=Subquery(found))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = list(super().get_readonly_fields(request, obj))
        # Launches without a course of the LMS share one row, which is never mapped (A31).
        return [*fields, "course"] if obj is not None and not obj.context_id else fields

    @display(description="LMS course", ordering="title")
    def name_column(self, obj: LmsCourse) -> str:
        return str(obj)

    @display(description="Links", ordering="link_count")
    def links_column(self, obj: Any) -> int:
        return obj.link_count or 0


@admin.register(ResourceLink)
class ResourceLinkAdmin(TenantAdmin):
    """What a link in the LMS opens. Mapped by teachers in the launch; corrected here."""

    owners_may = frozenset({"view", "change"})
    list_display = ["title_column", "lms_course", "assignment", "course"]
    list_select_related = ["lms_course", "assignment", "course"]
    list_filter = [("lms_course__installation", TenantRelatedFilter), ("assignment__course", TenantRelatedFilter)]
    search_fields = ["title", "resource_link_id", "lms_course__title", "assignment__title"]
    autocomplete_fields = ["assignment", "course"]
    ordering = ["-id"]
    fields = ["title", "resource_link_id", "lms_course", "assignment", "course", "created_at"]
    readonly_fields = ["title", "resource_link_id", "lms_course", "created_at"]

    @display(description="Link", ordering="title")
    def title_column(self, obj: ResourceLink) -> str:
        return str(obj)


@admin.register(Submission)
class SubmissionAdmin(TenantAdmin):
    owners_may = READ
    list_display = ["person", "assignment", "opened_column", "submitted_column", "number"]
    opened_column = moment_column("opened_at", "Opened")
    submitted_column = moment_column("submitted_at", "Submitted")
    list_select_related = ["person", "assignment"]
    list_filter = [("assignment__course", TenantRelatedFilter)]
    search_fields = ["person__name", "assignment__title"]
    ordering = ["-id"]
    fields = ["person", "assignment", "opened_at", "submitted_at", "number", "text", "url"]
