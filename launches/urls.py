"""The door (contract §3). A launch URL works with and without a trailing slash: a redirect would lose the POST (A1)."""

from django.urls import include, path, re_path

from launches import (
    canvas_config,
    digest_pages,
    feedback_pages,
    lti_1p3,
    registration_pages,
    sign_in_pages,
    views,
    xml_config,
)

urlpatterns = [
    re_path(r"^lti/v1/?$", views.any_launch, name="lti-launch"),
    re_path(r"^lti/resource_selection/?$", views.any_launch, name="lti-resource-selection"),
    re_path(r"^lti/editor_button/?$", views.any_launch, name="lti-editor-button"),
    re_path(r"^lti/course_navigation/?$", views.course_launch, name="lti-course-navigation"),
    path("lti/v1/<slug:organization>/config.xml", xml_config.configuration, name="lti-xml-config"),
    re_path(r"^lti/assignments/(?P<assignment_id>[^/\x00]{1,100})/?$", views.assignment_launch, name="lti-assignment"),
    re_path(r"^lti/constant/(?P<constant_key>[^/\x00]{1,100})/?$", views.constant_launch, name="lti-constant"),
    re_path(r"^lti/courses/(?P<course_id>[^/\x00]{1,100})/enroll/?$", views.enroll_launch, name="lti-enroll"),
    re_path(r"^lti/rooms/(?P<room_id>[^/\x00]{1,100})/?$", views.room_launch, name="lti-room"),
    path("lti/1p3/<slug:organization>/login", lti_1p3.login, name="lti-1p3-login"),
    path("lti/1p3/<slug:organization>/launch", lti_1p3.launch, name="lti-1p3-launch"),
    path("lti/1p3/<slug:organization>/jwks.json", views.public_keys, name="lti-jwks"),
    path("lti/1p3/<slug:organization>/config.json", canvas_config.configuration, name="lti-canvas-config"),
    path("lti/1p3/<slug:organization>/register", registration_pages.register, name="lti-register"),
    path("sign-in", sign_in_pages.accept, name="own-sign-in"),
    path("digest/<str:token>", digest_pages.digest_switch, name="digest"),
    path("feedback/<str:token>", feedback_pages.feedback, name="feedback"),
    path("launches/<uuid:launch_id>/enter", views.enter, name="launch-enter"),
    path("launches/<uuid:launch_id>/return", views.leave, name="launch-return"),
    path("launches/<uuid:launch_id>/", include("launches.page_urls")),
]
