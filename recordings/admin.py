"""Meeting servers for owners: where live sessions run, with a masked secret and a test that says what is wrong."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from organizations.tenancy import scope_of
from organizations.tenant_admin import MANAGE, READ, TenantAdmin, TenantForm, moment_column
from recordings import connecting, overview, room_admin  # noqa: F401 - its part of the home page; rooms
from recordings.connecting import ServerError
from recordings.models import MeetingServer
from recordings.sessions import webhook_url

# Fields of the form that have another name than what they set.
_FIELDS = {"api_secret": "new_secret"}
_LINE = {"autocomplete": "off", "spellcheck": "false"}
_SECRET = {**_LINE, "autocomplete": "new-password"}


class MeetingServerForm(TenantForm):
    """The secret is written, and never shown."""

    url = forms.CharField(
        label="URL",
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(attrs={**_LINE, "placeholder": "https://meet.example.org"}),
        help_text="The server's own address, without the path of one of its pages.",
    )
    # Not under the name of the row's own field, whose value a form would show.
    new_secret = forms.CharField(
        label="API secret", required=False, max_length=255, widget=UnfoldAdminPasswordWidget(attrs=_SECRET)
    )
    by_default = forms.BooleanField(
        label="Default",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Rooms that name no server use this one. The one that was the default before is it no longer.",
    )

    class Meta:
        model = MeetingServer
        fields = ["name", "kind", "url", "api_key", "enabled"]
        help_texts = {
            "name": "What rooms and provision files call it, e.g. main.",
            "api_key": "api_key in the section client of the server's configuration. It is no LTI key.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        is_new = self.instance._state.adding
        if "new_secret" in self.fields:
            self.fields["new_secret"].required = is_new
            self.fields["new_secret"].help_text = (
                "secret, beside it in the server's configuration. It is kept encrypted and never shown again."
                if is_new
                else "•••••••• is kept. Type a new one only to replace it."
            )
        if "by_default" in self.fields:
            self.fields["by_default"].initial = self.instance.is_default

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name, check in connecting.CHECKS.items():
            field = _FIELDS.get(name, name)
            if cleaned.get(field):
                try:
                    cleaned[field] = check(cleaned[field])
                except ServerError as error:
                    self.add_error(field, ValidationError(f"It {error.message}."))
        organization_id = self.instance.organization_id
        if self.instance._state.adding and organization_id and not self.errors:
            rows = MeetingServer.objects.filter(organization=organization_id)
            if rows.count() >= connecting.MOST_SERVERS:
                self.add_error(None, f"There are {connecting.MOST_SERVERS} meeting servers already: delete one first.")
        return cleaned


@admin.register(MeetingServer)
class MeetingServerAdmin(TenantAdmin):
    owners_may = MANAGE
    operators_may = READ
    form = MeetingServerForm
    list_display = ["name", "kind", "url", "state_column", "default_column", "checked_column"]
    checked_column = moment_column("checked_at", "Tested", empty="never")
    list_filter = ["kind", "enabled"]
    search_fields = ["name", "url"]
    fields = ["name", "kind", "url", "api_key", "new_secret", "enabled", "by_default"]
    list_before_template = "admin/recordings/meetingserver_list_before.html"
    change_form_before_template = "admin/recordings/meetingserver_before.html"
    change_form_outer_after_template = "admin/recordings/meetingserver_after.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(scope_of(request).organization_ids)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.has_change_permission(request, obj) or obj is None:
            return self.fields
        return ["name", "kind", "url", "enabled", "is_default"]

    @display(description="State", label={"Works": "success", "Problem": "danger", "Not tested": "warning", "Off": None})
    def state_column(self, obj: MeetingServer) -> str:
        if not obj.enabled:
            return "Off"
        if obj.checked_at is None:
            return "Not tested"
        return "Problem" if obj.problem else "Works"

    @display(description="Default", boolean=True, ordering="is_default")
    def default_column(self, obj: MeetingServer) -> bool:
        return obj.is_default

    def save_model(self, request: HttpRequest, obj: MeetingServer, form: Any, change: bool) -> None:
        values = {name: form.cleaned_data[_FIELDS.get(name, name)] for name in connecting.CHECKS}
        is_default = form.cleaned_data["by_default"]
        try:
            if not change:
                obj.pk = connecting.make_server(obj.organization, is_default=is_default, **values).pk
                return
            # Only what was changed here: somebody else may have written the rest meanwhile.
            changed = {name: values[name] for name in values if _FIELDS.get(name, name) in form.changed_data}
            fresh = MeetingServer.objects.get(pk=obj.pk)
            connecting.change_server(
                fresh, is_default=is_default if "by_default" in form.changed_data else None, **changed
            )
        except ServerError as error:
            # Somebody else was faster: the form had found nothing wrong.
            messages.error(request, f"Not saved: {error.message}.")

    def response_add(
        self, request: HttpRequest, obj: MeetingServer, post_url_continue: str | None = None
    ) -> HttpResponse:
        if not MeetingServer.objects.filter(pk=obj.pk).exists():
            return redirect(self.url_name("changelist"))
        messages.success(request, "The meeting server is added. Test the connection now: the button is below.")
        return redirect(self.url_name("change"), obj.pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        server = self.load(request, object_id)
        context = {
            "server": server,
            "may_test": scope_of(request).owns(server.organization_id),
            "rooms": server.rooms.count(),
            "webhook_address": webhook_url(server),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    # Pages of our own

    def get_urls(self) -> list[URLPattern]:
        test = self.admin_site.admin_view(self.test)
        return [path("<uuid:object_id>/test/", test, name="recordings_meetingserver_test"), *super().get_urls()]

    def test(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """POST: calls the server, and says in words what is wrong. A server is called by its owners alone."""
        server: MeetingServer = self.load(request, str(object_id))
        if not scope_of(request).owns(server.organization_id):
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        problem = connecting.try_connection(server)
        if problem is None:
            messages.success(request, "It works: the server is there and takes the API key and secret.")
        else:
            messages.error(request, "It does not work. What is wrong is said below.")
        return redirect(self.url_name("change"), server.pk)
