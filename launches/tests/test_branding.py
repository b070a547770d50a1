"""An organization's logo and colours: only ever a colour, only ever a picture, always readable."""

from uuid import uuid4

import pytest
from django.urls import reverse

from launches.branding import Colours, colours_of, logo_url, style_sheet
from organizations.models import Organization
from tests.visiting import student

NOT_COLOURS = [
    "red",
    "#12",
    "#12345",
    "#1234567",
    "#ggg",
    "#fff;}",
    "#fff}body{display:none",
    "url(x)",
    "",
    None,
    5,
    ["#fff"],
]


@pytest.mark.parametrize("value", NOT_COLOURS)
def test_what_is_no_colour_is_not_set(value):
    assert colours_of(Organization(branding={"primary_color": value})) == Colours()


def test_colours():
    branding = {"primary_color": "#1D4ED8", "secondary_color": " #abc ", "background_color": "#fff"}
    assert colours_of(Organization(branding=branding)) == Colours("1d4ed8", "aabbcc", "ffffff")


@pytest.mark.parametrize(
    "value",
    [
        "http://a.example/l.png",
        "javascript:alert(1)",
        "data:image/svg+xml,x",
        "//a.example/l.png",
        "https://u@a.example/",
        None,
    ],
)
def test_only_https_logos(value):
    assert logo_url(Organization(branding={"logo_url": value})) == ""


def test_text_on_the_primary_colour_is_readable():
    assert "--on-brand: #000000" in style_sheet(Colours(primary="ffee00"))
    assert "--on-brand: #ffffff" in style_sheet(Colours(primary="112233"))


def test_a_background_on_which_nothing_can_be_read_is_left_out():
    assert "--bs-body-bg" not in style_sheet(Colours(background="222222"))
    assert "--bs-body-bg: #fafafa" in style_sheet(Colours(background="fafafa"))


def test_the_style_sheet_is_served_and_cached(client):
    response = client.get(reverse("launch-style", args=[uuid4(), "1d4ed8-none-none"]))
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/css")
    assert "max-age" in response["Cache-Control"]
    assert "--brand: #1d4ed8" in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["red-none-none", "1d4ed8-none", "1d4ed8;}-none-none", "1D4ED8-none-none"])
def test_no_other_style_sheet(client, name):
    assert client.get(f"/launches/{uuid4()}/style/{name}.css").status_code == 404


@pytest.mark.django_db
def test_the_page_links_it(key, assignment):
    organization = key.installation.organization
    organization.branding = {"primary_color": "#1d4ed8", "logo_url": 'https://a.example/l.png?"onerror=x'}
    organization.save()
    visitor = student(key, assignment)
    html = visitor.get("launch").content.decode()
    assert visitor.url("launch-style", "1d4ed8-none-none") in html
    assert "onerror" not in html
    organization.branding = {"logo_url": "https://a.example/l.png"}
    organization.save()
    html = visitor.get("launch").content.decode()
    assert '<img src="https://a.example/l.png" alt="">' in html
    assert "/style/" not in html
