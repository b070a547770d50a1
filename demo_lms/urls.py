"""The table of contents of the demo LMS."""

from django.urls import path

from demo_lms import checks, content_views, service_views, tool_views, views

urlpatterns = [
    path("", views.home, name="home"),
    path("people/", views.people, name="people"),
    path("course/", views.course, name="course"),
    path("links/<slug:slug>/", views.link, name="link"),
    path("links/<slug:slug>/launch", views.launch, name="launch"),
    path("links/<slug:slug>/review/<str:person_id>/", tool_views.review, name="review"),
    path("links/<slug:slug>/review/<str:person_id>/launch", tool_views.review_launch, name="review-launch"),
    path("return", views.come_back, name="return"),
    path("picker/", tool_views.picker, name="picker"),
    path("picker/launch", tool_views.picker_launch, name="picker-launch"),
    path("deep-link-return", tool_views.take_choice, name="deep-link-return"),
    path("storage-frame", views.storage_frame, name="storage-frame"),
    path("tools/", tool_views.tools, name="tools"),
    path("tools/<str:client_id>", tool_views.change_tool, name="change-tool"),
    path("tools/links/<slug:slug>", tool_views.change_link, name="change-link"),
    path("gradebook/", views.grades, name="gradebook"),
    path("manners/", views.manners_panel, name="manners"),
    path("messages/", views.message_list, name="messages"),
    path("outcomes", views.outcome_service, name="outcomes"),
    path("auth", tool_views.authorize, name="auth"),
    path("jwks.json", service_views.key_set, name="jwks"),
    path("token", service_views.token, name="token"),
    path("services/<str:course_id>/lineitems", service_views.line_items, name="line-items"),
    path("services/<str:course_id>/lineitems/<str:column_id>/lineitem", service_views.line_item, name="line-item"),
    path("services/<str:course_id>/lineitems/<str:column_id>/lineitem/scores", service_views.scores, name="scores"),
    path("services/<str:course_id>/lineitems/<str:column_id>/lineitem/results", service_views.results, name="results"),
    path("services/<str:course_id>/memberships", service_views.memberships, name="memberships"),
    path(".well-known/openid-configuration", service_views.openid_configuration, name="openid-configuration"),
    path("registration", service_views.registration, name="registration"),
    path("content/", content_views.arrive, name="content"),
    path("content/visits/<str:visit_id>/finish", content_views.finish, name="content-finish"),
    path("api/gradebook.json", checks.gradebook_json, name="api-gradebook"),
    path("api/behaviour", checks.behaviour, name="api-behaviour"),
    path("api/lti-version", checks.lti_version, name="api-lti-version"),
    path("api/messages.json", checks.messages_json, name="api-messages"),
    path("health", checks.health, name="health"),
]
