"""An organization's own look on its pages: logo and colours, never anything that could be more than a colour (J11)."""

import re
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from lti.return_url import safe_http_url
from organizations.models import Organization

_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_DARK_TEXT = "1f2937"
_MUTED_TEXT = "566173"
_LINK = "1d4ed8"
# WCAG 2.2 §1.4.3
_READABLE = 4.5


@dataclass(frozen=True)
class Colours:
    """Six hexadecimal digits each, or empty."""

    primary: str = ""
    secondary: str = ""
    background: str = ""

    @property
    def name(self) -> str:
        """As it stands in the address of the style sheet: `1d4ed8-none-f6f7f9`."""
        return "-".join(colour or "none" for colour in (self.primary, self.secondary, self.background))


def colours_of(organization: Organization) -> Colours:
    """The organization's valid colours; what is no `#rgb` or `#rrggbb` counts as not set."""
    return Colours(*(_digits(organization.branding.get(f"{name}_color")) for name in _NAMES))


def logo_url(organization: Organization) -> str:
    """The https address of the organization's logo, or empty. It is only ever shown as an `<img>`."""
    url = organization.branding.get("logo_url")
    return url if isinstance(url, str) and url.startswith("https://") and safe_http_url(url) else ""


def style_url(organization: Organization, launch_id: UUID) -> str:
    """The address of the organization's style sheet, or empty when it has no colours of its own."""
    colours = colours_of(organization)
    return reverse("launch-style", args=[launch_id, colours.name]) if colours != Colours() else ""


@require_safe
def style(request: HttpRequest, launch_id: UUID, colours: str) -> HttpResponse:
    """The style sheet of the colours that its own address names: it says nothing about any launch."""
    names = ("" if name == "none" else name for name in colours.split("-"))
    response = HttpResponse(style_sheet(Colours(*names)), content_type="text/css; charset=utf-8")
    response["Cache-Control"] = "public, max-age=86400, immutable"
    return response


def style_sheet(colours: Colours) -> str:
    """The colours as overrides of static/css/pages.css.

    Text stays readable whatever was chosen: on the primary colour it turns black or white, and a background on which
    our text would be hard to read is left out.
    """
    both: list[str] = []
    light: list[str] = []
    if colours.primary:
        both += [
            f"--brand: #{colours.primary}",
            f"--brand-hover: #{_shaded(colours.primary)}",
            f"--on-brand: #{_text_on(colours.primary)}",
            f"--accent: #{colours.primary}",
        ]
    if colours.secondary:
        both.append(f"--accent: #{colours.secondary}")
    if colours.background and all(
        _contrast(text, colours.background) >= _READABLE for text in (_DARK_TEXT, _MUTED_TEXT, _LINK)
    ):
        light.append(f"--bs-body-bg: #{colours.background}")
    rules = [f'[data-bs-theme="light"] {{ {"; ".join(light)} }}'] if light else []
    if both:
        rules.append(f'[data-bs-theme="light"], [data-bs-theme="dark"] {{ {"; ".join(both)} }}')
    return "\n".join(rules) + "\n"


_NAMES = ("primary", "secondary", "background")


def _digits(value: object) -> str:
    if not isinstance(value, str) or not _COLOUR.fullmatch(value.strip()):
        return ""
    digits = value.strip()[1:].lower()
    return digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)


def _luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _text_on(colour: str) -> str:
    return max(("ffffff", "000000"), key=lambda text: _contrast(text, colour))


def _shaded(colour: str) -> str:
    """A little further from its own text colour, so that the text stays as readable."""
    towards = 0 if _text_on(colour) == "ffffff" else 255
    return "".join(f"{round(int(colour[at : at + 2], 16) * 0.85 + towards * 0.15):02x}" for at in (0, 2, 4))
