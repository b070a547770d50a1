"""The public Canvas configuration (D46)."""

import pytest

from tests.tenants import make_tenant

pytestmark = pytest.mark.django_db


def test_canvas_reads_everything_it_needs(client):
    tenant = make_tenant("Acme")
    response = client.get("/lti/1p3/acme/config.json")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    document = response.json()
    base = "http://testserver/lti/1p3/acme"
    assert document["oidc_initiation_url"] == f"{base}/login"
    assert document["redirect_uris"] == [f"{base}/launch"]
    assert document["public_jwk_url"] == f"{base}/jwks.json"
    assert document["target_link_uri"] == f"{base}/launch"
    assert "https://purl.imsglobal.org/spec/lti-ags/scope/score" in document["scopes"]
    (canvas,) = document["extensions"]
    assert (canvas["platform"], canvas["privacy_level"], canvas["domain"]) == (
        "canvas.instructure.com",
        "public",
        "testserver",
    )
    placements = {placement["placement"]: placement["message_type"] for placement in canvas["settings"]["placements"]}
    assert placements == {
        "resource_selection": "LtiDeepLinkingRequest",
        "assignment_selection": "LtiDeepLinkingRequest",
        "link_selection": "LtiDeepLinkingRequest",
        "module_index_menu_modal": "LtiDeepLinkingRequest",
        "editor_button": "LtiDeepLinkingRequest",
        "course_navigation": "LtiResourceLinkRequest",
    }
    by_name = {placement["placement"]: placement for placement in canvas["settings"]["placements"]}
    assert by_name["course_navigation"]["target_link_uri"] == "http://testserver/lti/course_navigation"
    assert by_name["course_navigation"]["default"] == "disabled"
    assert by_name["editor_button"]["target_link_uri"] == f"{base}/launch"
    assert by_name["editor_button"]["icon_url"] == "http://testserver/static/img/mark.svg"
    for trace in tenant.traces:
        assert trace not in response.content.decode()


def test_nobody_and_suspended_look_alike(client):
    tenant = make_tenant("Acme")
    tenant.organization.enabled = False
    tenant.organization.save()
    assert client.get("/lti/1p3/acme/config.json").status_code == 404
    assert client.get("/lti/1p3/nobody/config.json").status_code == 404
    assert client.post("/lti/1p3/acme/config.json").status_code == 405
