"""Rooms for owners: in which course and on which server sessions take place, and what attendance there is worth."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import display

from courses.models import Assignment
from organizations.tenant_admin import MANAGE, TenantAdmin, TenantForm, TenantRelatedFilter, TenantTabularInline
from recordings.addresses import room_url
from recordings.attendance_grades import grade_again
from recordings.models import AttendanceGrading, Recording, Room


class AttendanceGradingInline(TenantTabularInline):
    """The assignments that are this live session, and how attendance becomes their score."""

    model = AttendanceGrading
    owners_may = MANAGE
    fields = ["assignment", "measure", "required", "proportional", "span"]
    verbose_name = "graded assignment"
    verbose_name_plural = "graded assignments"

    def choices_for(self, db_field: Any, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        rows = super().choices_for(db_field, request, rows)
        if db_field.name == "assignment":
            course_id = getattr(request, "_course_of_room", None)
            rows = rows.filter(kind=Assignment.Kind.ROOM, course_id=course_id)
        return rows


class RoomForm(TenantForm):
    """The server is of the course's organization: TenantForm sees to that."""

    class Meta:
        model = Room
        fields = ["title"]  # the admin says which
        help_texts = {
            "server": "Empty: the organization's default.",
            "slug": "Unique in the course. A link in an LMS may name the room so: custom parameter room.",
            "enabled": "Off: nobody starts or enters a session; what was recorded stays.",
        }


@admin.register(Room)
class RoomAdmin(TenantAdmin):
    form = RoomForm
    owners_may = MANAGE
    list_display = ["title", "course", "server_column", "sessions_column", "recordings_column", "enabled"]
    list_select_related = ["course", "server"]
    list_filter = [("course", TenantRelatedFilter), ("server", TenantRelatedFilter), "enabled"]
    search_fields = ["title", "slug", "course__name", "course__code"]
    autocomplete_fields = ["course"]
    ordering = ["-id"]
    fields = ["course", "title", "slug", "server", "enabled", "position"]
    inlines = [AttendanceGradingInline]
    change_form_before_template = "admin/recordings/room_before.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Room]:
        available = Recording.objects.filter(room=OuterRef("pk"), state=Recording.State.AVAILABLE)
        counted = available.order_by().values("room").annotate(found=Count("pk")).values("found")
        rows = super().get_queryset(request)
        return rows.annotate(meeting_count=Count("meetings"), recording_count=Subquery(counted))

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {"slug": ("title",)} if obj is None else {}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Links in the LMS lead to this room in this course, and so do its recordings.
        return ["course"] if obj is not None else []

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        room = super().get_object(request, object_id, from_field)
        request._course_of_room = room.course_id if room else None  # type: ignore[attr-defined]
        return room

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Deleting takes attendance and recordings along: a room in which there was a session is switched off.
        unused = not isinstance(obj, Room) or not (obj.meetings.exists() or obj.recordings.exists())
        return super().has_delete_permission(request, obj) and unused

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_formset(request, form, formset, change)
            if formset.model is AttendanceGrading:
                for grading in formset.new_objects + [row for row, _ in formset.changed_objects]:
                    grade_again(grading)

    @display(description="Meeting server", ordering="server__name")
    def server_column(self, obj: Room) -> str:
        return str(obj.server) if obj.server else "the default"

    @display(description="Sessions", ordering="meeting_count")
    def sessions_column(self, obj: Any) -> int:
        return obj.meeting_count or 0

    @display(description="Recordings", ordering="recording_count")
    def recordings_column(self, obj: Any) -> int:
        return obj.recording_count or 0

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        room = self.load(request, object_id)
        place = {"course_id": room.course_id, "room_id": room.pk}
        context = {
            "room_url": room_url(room),
            # Pages of the course, a room of the house above this one: known by their names.
            "room_page": reverse("course-room", kwargs=place),
            "settings_page": reverse("course-room-settings", kwargs=place),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)
