"""Cookies of frames, forwarded headers, policies of pages."""

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.test import Client, RequestFactory
from django.urls import path

from lti_platform.middleware import PartitionedCookieMiddleware, TrustedProxyMiddleware


def raw_cookie(**options: object) -> str:
    """The Set-Cookie header as it is sent."""

    def view(request: HttpRequest) -> HttpResponse:
        response = HttpResponse()
        response.set_cookie("__Host-browser", "value", **options)  # type: ignore[arg-type]
        return response

    response = PartitionedCookieMiddleware(view)(RequestFactory().get("/"))
    return response.cookies["__Host-browser"].OutputString()


def test_a_cookie_for_frames_is_partitioned() -> None:
    header = raw_cookie(secure=True, httponly=True, samesite="None", max_age=60)

    attributes = [part.strip() for part in header.split(";")]
    assert attributes[0] == "__Host-browser=value"
    assert attributes.count("Partitioned") == 1  # a flag, without a value
    assert {"Secure", "HttpOnly", "SameSite=None", "Path=/"} <= set(attributes)


@pytest.mark.parametrize("options", [{"samesite": "Lax", "secure": True}, {"samesite": "None"}, {}])
def test_other_cookies_are_not(options: dict[str, object]) -> None:
    assert "Partitioned" not in raw_cookie(**options)


def test_it_is_the_header_that_leaves_the_whole_stack(settings: object) -> None:
    settings.ROOT_URLCONF = __name__  # type: ignore[attr-defined]
    response = Client().get("/frame-cookie")

    assert "; Partitioned" in response.cookies["__Host-browser"].OutputString()


def seen_by_the_view(settings: object, proxies: list[str], address: str, **headers: str) -> dict[str, object]:
    settings.TRUSTED_PROXIES = proxies  # type: ignore[attr-defined]
    seen: dict[str, object] = {}

    def view(request: HttpRequest) -> HttpResponse:
        seen.update(
            address=request.META["REMOTE_ADDR"],
            scheme=request.scheme,
            host=request.META["HTTP_HOST"],
            forwarded=sorted(name for name in request.META if name.startswith("HTTP_X_FORWARDED")),
        )
        return HttpResponse()

    request = RequestFactory().get("/", headers={"host": "inside:8000", **headers}, REMOTE_ADDR=address)
    TrustedProxyMiddleware(view)(request)
    return seen


FORGED = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https", "x-forwarded-host": "evil.example"}


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8"], ["2001:db8::/32"]])
def test_forged_headers_are_dropped(settings: object, proxies: list[str]) -> None:
    seen = seen_by_the_view(settings, proxies, "203.0.113.9", **FORGED)

    assert seen == {"address": "203.0.113.9", "scheme": "http", "host": "inside:8000", "forwarded": []}


def test_a_trusted_proxy_is_believed(settings: object) -> None:
    told = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https", "x-forwarded-host": "tool.example.org"}

    seen = seen_by_the_view(settings, ["10.0.0.0/8"], "10.1.2.3", **told)

    assert seen == {"address": "198.51.100.7", "scheme": "https", "host": "tool.example.org", "forwarded": []}


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        # Whatever stands left of the last address that is not ours was written by the client.
        ("1.1.1.1, 198.51.100.7", "198.51.100.7"),
        ("1.1.1.1, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("127.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("10.9.9.9", "10.1.2.3"),
        ("", "10.1.2.3"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy(settings: object, chain: str, client: str) -> None:
    assert seen_by_the_view(settings, ["10.0.0.0/8"], "10.1.2.3", **{"x-forwarded-for": chain})["address"] == client


def test_other_schemes_are_not_taken_over(settings: object) -> None:
    assert seen_by_the_view(settings, ["10.0.0.1"], "10.0.0.1", **{"x-forwarded-proto": "ftp"})["scheme"] == "http"


def test_an_address_that_is_none_is_not_trusted(settings: object) -> None:
    assert seen_by_the_view(settings, ["0.0.0.0/0"], "unix:", **FORGED)["scheme"] == "http"


def _with_cookie(request: HttpRequest) -> HttpResponse:
    response = JsonResponse({})
    response.set_cookie("__Host-browser", "value", secure=True, httponly=True, samesite="None")
    return response


urlpatterns = [
    path("frame-cookie", _with_cookie),
    path("moved", lambda request: HttpResponseRedirect("/page")),
    path("page", lambda request: HttpResponse("<p>Hello</p>")),
]


def test_pages_have_a_policy_and_redirects_need_none(settings: object) -> None:
    settings.ROOT_URLCONF = __name__  # type: ignore[attr-defined]

    page, moved = Client().get("/page"), Client().get("/moved")

    policy = page["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "Content-Security-Policy" not in moved


def test_nothing_of_the_stack_reads_the_session_for_everybody() -> None:
    """A launch must not pay for a session: no middleware before the view may touch it."""
    assert "django_structlog.middlewares.RequestMiddleware" not in django_settings.MIDDLEWARE
    assert django_settings.SESSION_SAVE_EVERY_REQUEST is False
