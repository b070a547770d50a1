"""Rooms for owners, and the room of an assignment that is a live session."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSelectWidget, UnfoldBooleanSwitchWidget

from courses.admin import AssignmentAdmin, AssignmentForm
from courses.models import Assignment
from organizations.tenancy import scope_of
from organizations.tenant_admin import MANAGE, TenantAdmin, TenantForm, TenantRelatedFilter
from recordings.addresses import room_url
from recordings.definitions import AssignmentSettings, AttendanceDefinition, grading_of, set_room
from recordings.models import AttendanceGrading, Meeting, Room

_MEASURE, _SPAN = AttendanceGrading.Measure, AttendanceGrading.Span
_OF_THE_ROOM = ("room", "measure", "required", "proportional", "span")


class RoomForm(TenantForm):
    """What a session there is like is set on the room's own page."""

    class Meta:
        model = Room
        fields = ["title", "slug", "server", "enabled", "position"]
        help_texts = {
            "slug": "Unique in the course; what provision files and the custom parameter room call it.",
            "server": "Empty: the one that is the organization's default.",
            "enabled": "Off: nobody starts or enters a session; its recordings stay.",
        }


@admin.register(Room)
class RoomAdmin(TenantAdmin):
    form = RoomForm
    owners_may = MANAGE
    list_display = ["title", "course", "server", "live_column", "enabled"]
    list_select_related = ["course", "server"]
    list_filter = [("course", TenantRelatedFilter), ("server", TenantRelatedFilter), "enabled"]
    search_fields = ["title", "slug", "course__name", "course__code"]
    autocomplete_fields = ["course"]
    fields = ["course", "title", "slug", "server", "enabled", "position"]
    change_form_before_template = "admin/recordings/room_before.html"
    list_before_template = "admin/recordings/room_list_before.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Room]:
        running = Meeting.objects.filter(room=OuterRef("pk"), ended_at__isnull=True)
        return super().get_queryset(request).annotate(is_live=Exists(running))

    @display(description="Session", label={"Live": "success"})
    def live_column(self, obj: Any) -> str:
        return "Live" if obj.is_live else "—"

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {"slug": ("title",)} if obj is None else {}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Links in the LMS lead to this room in this course.
        return ["course"] if obj is not None else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Its recordings would stay on the server, and nobody would know of them.
        unused = not isinstance(obj, Room) or not (
            obj.meetings.exists() or obj.recordings.exists() or obj.gradings.exists()
        )
        return super().has_delete_permission(request, obj) and unused

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        room = self.load(request, object_id)
        course_id = room.course_id
        member = scope_of(request).owns(room.course.organization_id)
        context = {
            "room": room,
            "room_address": room_url(room),
            "room_page": reverse("course-room", args=[course_id, room.pk]) if member else "",
            "room_settings_page": reverse("course-room-settings", args=[course_id, room.pk]) if member else "",
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)


class LiveSessionForm(AssignmentForm):
    """An assignment with its room, and how attendance there is graded."""

    rooms: QuerySet[Room] = Room.objects.none()  # those that may be chosen

    room = forms.ModelChoiceField(
        Room.objects.none(),
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="A room of the same course. There is none yet? Add it under Rooms.",
    )
    measure = forms.ChoiceField(
        label="Graded by", choices=_MEASURE.choices, required=False, widget=UnfoldAdminSelectWidget
    )
    required = forms.DecimalField(
        label="All points for",
        min_value=0,
        max_value=99_999,
        decimal_places=2,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="Minutes, or percent of the session's length.",
    )
    proportional = forms.BooleanField(
        label="Part of the points for less", required=False, widget=UnfoldBooleanSwitchWidget
    )
    span = forms.ChoiceField(
        label="Sessions that count", choices=_SPAN.choices, required=False, widget=UnfoldAdminSelectWidget
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        grading = None if self.instance._state.adding else grading_of(self.instance)
        if "room" in self.fields:
            field: Any = self.fields["room"]
            field.queryset = self.rooms
            if self.instance._state.adding:
                field.label_from_instance = lambda room: f"{room.course}: {room}"
        for name in _OF_THE_ROOM:
            if name in self.fields:
                self.fields[name].initial = getattr(
                    grading or AttendanceGrading(), name if name != "room" else "room_id"
                )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("kind") != Assignment.Kind.ROOM:
            return cleaned
        course = cleaned.get("course") or (self.instance.course if self.instance.course_id else None)
        room = cleaned.get("room")
        if room is None and "room" not in self.errors:
            self.add_error("room", "A live session needs its room.")
        if room is not None and course is not None and room.course_id != course.pk:
            self.add_error("room", "This room is in another course.")
        if cleaned.get("measure", _MEASURE.NONE) != _MEASURE.NONE and "required" not in self.errors:
            required = cleaned.get("required")
            if not required:
                self.add_error("required", "Say how much attendance gives all points: more than 0.")
            elif cleaned["measure"] == _MEASURE.SHARE and required > 100:
                self.add_error("required", "A share is at most 100 percent.")
        return cleaned

    def settings_of_room(self) -> AssignmentSettings:
        """What the form says of the room; of an assignment of another kind nothing."""
        given = self.cleaned_data
        if given.get("kind") != Assignment.Kind.ROOM:
            return AssignmentSettings()
        graded: dict[str, Any] = {"measure": given["measure"] or _MEASURE.NONE}
        if graded["measure"] != _MEASURE.NONE:
            graded |= {
                "required": given["required"],
                "proportional": given["proportional"],
                "span": given["span"] or _SPAN.BEST,
            }
        return AssignmentSettings(room=given["room"].slug, attendance=AttendanceDefinition(**graded))


admin.site.unregister(Assignment)


@admin.register(Assignment)
class AssignmentWithRoomAdmin(AssignmentAdmin):
    """Below, courses know nothing of rooms: here their assignments get them."""

    form = LiveSessionForm
    fieldsets = (
        *AssignmentAdmin.fieldsets[:2],
        (
            "Live session",
            {"fields": _OF_THE_ROOM, "description": "For the kind “live session”: which room it opens, and its grade."},
        ),
        *AssignmentAdmin.fieldsets[2:],
    )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form_class = super().get_form(request, obj, change, **kwargs)
        rooms = scope_of(request).limit(
            Room.objects.select_related("course").order_by("course__name", "position", "id")
        )
        # A class of this request's own.
        form_class.rooms = rooms.filter(course=obj.course_id) if obj is not None else rooms
        return form_class

    def save_model(self, request: HttpRequest, obj: Assignment, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change or {"kind", *_OF_THE_ROOM} & set(form.changed_data):
            set_room(obj, form.settings_of_room())
