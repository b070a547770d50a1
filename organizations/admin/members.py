"""Members: owners and teachers who sign in directly."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.decorators import display
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from organizations import invitations
from organizations.models import Membership, Organization
from organizations.tenancy import scope_of
from organizations.tenant_admin import MANAGE, TenantAdmin, TenantForm, moment_column


class InviteForm(forms.Form):
    organization = forms.ModelChoiceField(Organization.objects.none(), widget=UnfoldAdminSelectWidget)
    email = forms.EmailField(
        label="E-mail address", max_length=254, widget=UnfoldAdminEmailInputWidget(attrs={"autofocus": True})
    )
    name = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget)
    role = forms.ChoiceField(
        choices=Membership.Role.choices,
        initial=Membership.Role.TEACHER,
        widget=UnfoldAdminSelectWidget,
        help_text="Owners see and change everything here, keys included. Teachers work on course pages.",
    )

    def __init__(self, *args: Any, reachable: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["organization"].queryset = reachable  # type: ignore[attr-defined]
        self.only = reachable[0] if reachable.count() == 1 else None
        if self.only:
            del self.fields["organization"]

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        return {**cleaned, "organization": self.only or cleaned.get("organization")}


class MemberForm(TenantForm):
    class Meta:
        model = Membership
        fields = ["role", "grade_digest"]

    def clean_role(self) -> str:
        role: str = self.cleaned_data["role"]
        try:
            invitations.check_role_change(self.instance, role)
        except invitations.LastOwner as error:
            raise ValidationError(str(error)) from error
        return role


@admin.register(Membership)
class MembershipAdmin(TenantAdmin):
    form = MemberForm
    owners_may = MANAGE
    list_display = ["member_column", "email_column", "role", "sign_in_column", "since_column"]
    since_column = moment_column("created_at", "Since")
    list_select_related = ["user"]
    list_filter = ["role"]
    search_fields = ["user__name", "user__email"]
    fields = ["member_column", "email_column", "role", "grade_digest", "sign_in_column", "created_at"]
    readonly_fields = ["member_column", "email_column", "sign_in_column", "created_at"]
    change_form_outer_after_template = "admin/organizations/membership_after.html"

    @display(description="Name", ordering="user__name")
    def member_column(self, obj: Membership) -> str:
        return (obj.user.name if obj.is_accepted else "") or obj.user.email

    @display(description="E-mail address", ordering="user__email")
    def email_column(self, obj: Membership) -> str:
        return obj.user.email

    @display(description="Last sign-in", ordering="user__last_login")
    def sign_in_column(self, obj: Membership) -> str:
        if not obj.is_accepted:
            return "invited, has not signed in since"
        if obj.user.last_login:
            return f"{obj.user.last_login:%d %b %Y %H:%M} UTC"
        return "never" if obj.user.has_usable_password() else "invited, has not set a password yet"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        invitations.change_role(obj, form.cleaned_data["role"])
        obj.save(update_fields=["grade_digest"])

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The invitation: a membership, and a mail with the way in."""
        if not self.has_add_permission(request):
            raise Http404
        form = InviteForm(request.POST or None, reachable=scope_of(request).limit(Organization.objects.all()))
        if request.method == "POST" and form.is_valid():
            asked = form.cleaned_data
            try:
                membership = invitations.invite_member(
                    asked["organization"], asked["email"], asked["name"], asked["role"]
                )
            except invitations.AlreadyMember as error:
                form.add_error("email", str(error))
            else:
                self.log_addition(request, membership, "Invited.")
                self._send(request, membership)
                return redirect(self.url_name("changelist"))
        return self.page(
            request,
            "admin/form_page.html",
            "Invite a member",
            form=form,
            submit_words="Invite",
            intro="They get a mail with a link to set their password. Students need no invitation: they come from "
            "the LMS.",
        )

    def _send(self, request: HttpRequest, membership: Membership) -> None:
        try:
            invitations.send_invitation(membership, scope_of(request).actor)
        except invitations.InvitationNotSent:
            messages.warning(
                request,
                f"{membership.user.email} is a member now, but the mail could not be sent. "
                "Open the member and send it again.",
            )
        else:
            messages.success(request, f"The invitation is on its way to {membership.user.email}.")

    def get_urls(self) -> list[URLPattern]:
        again = path(
            "<uuid:object_id>/invite-again/",
            self.admin_site.admin_view(self.invite_again),
            name="organizations_membership_invite_again",
        )
        return [again, *super().get_urls()]

    def invite_again(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        membership = self.load(request, str(object_id), "change")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._send(request, membership)
        return redirect(self.url_name("change"), membership.pk)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        membership = self.load(request, object_id, "delete")
        if request.method == "POST":
            try:
                name = str(membership)
                self.log_deletions(request, Membership.objects.filter(pk=membership.pk))
                invitations.remove_member(membership)
            except invitations.LastOwner as error:
                messages.error(request, str(error))
                return redirect(self.url_name("change"), object_id)
            messages.success(request, f"{name} is no longer a member.")
            return redirect("admin:index" if not scope_of(request).covers(membership) else self.url_name("changelist"))
        return self.page(
            request,
            "admin/confirm_page.html",
            "Remove this member?",
            membership,
            submit_words="Remove",
            danger=True,
            intro=f"{membership.user.email} loses access to {membership.organization} at once. What they did stays.",
        )
