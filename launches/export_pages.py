"""A course's exports, in the LMS frame and signed in directly: files to download, addresses to paste, and what is left
to do in each LMS (codio.md 1.11, H8 to H13)."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from courses.exports import CSV_TYPE, as_csv, as_download, download_name, rows_that_launch
from courses.models import Assignment
from launches.course_access import CourseAccess
from launches.export_notes import Export, Note, notes_for
from lti.cartridge import CartridgeVersion
from organizations.addresses import tool_addresses
from recordings.exports import export_cartridge, room_rows
from recordings.models import Room


@dataclass(frozen=True)
class Offer:
    """One export: a file at `url` to download, or an address to copy."""

    export: Export
    title: str
    text: str
    url: str
    is_file: bool
    notes: list[Note]


@require_safe
def exports(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """Everything that can be exported."""
    return _page(request, access)


@require_safe
def assignment_urls(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """The URLs as a table for a spreadsheet: only those that launch as the course is set now."""
    content = as_csv([*rows_that_launch(access.course), *room_rows(access.course)])
    return as_download(content, CSV_TYPE, download_name(access.course, "assignment-urls.csv"))


@require_safe
def cartridge(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """The course as an `.imscc` file; `?version=` is 1.3 (also when left out) or 1.1."""
    asked = request.GET.get("version", CartridgeVersion.V1_3)
    version = next((known for known in CartridgeVersion if known.value == asked), None)
    if version is None:
        return _page(request, access, error="Cartridges are written in version 1.3 or 1.1.", status=422)
    content = export_cartridge(access.course, version)
    return as_download(content, version.content_type, download_name(access.course, f"{version}.imscc"))


def _page(request: HttpRequest, access: CourseAccess, *, error: str = "", status: int = 200) -> HttpResponse:
    course = access.course
    offers = _offers(access)
    context = {
        "access": access,
        "visit": access.visit,
        "files": [offer for offer in offers if offer.is_file],
        "addresses": [offer for offer in offers if not offer.is_file],
        "count": Assignment.objects.filter(course=course).count(),
        "rooms": Room.objects.filter(course=course).count(),
        "target": f"course_target_id={course.code}" if course.constant_urls else "",
        "error": error,
    }
    return render(request, "launches/exports.html", context, status=status)


def _offers(access: CourseAccess) -> list[Offer]:
    own_lms = access.visit.installation.lms if access.visit else ""
    tool = tool_addresses(access.organization)
    file = access.url("cartridge")
    said = (
        (
            Export.CARTRIDGE_1P3,
            "Common Cartridge 1.3",
            "For Canvas, Blackboard, Brightspace and Sakai: modules as folders, each assignment and room as a link.",
            f"{file}?version=1.3",
        ),
        (
            Export.CARTRIDGE_1P1,
            "Common Cartridge 1.1",
            "The same for Moodle, which knows no newer version.",
            f"{file}?version=1.1",
        ),
        (
            Export.CSV,
            "Assignment URLs (CSV)",
            "A table for making links by hand, or for a script. Rooms of live sessions come after the assignments.",
            access.url("assignment-urls"),
        ),
        (
            Export.XML,
            "XML configuration, LTI 1.1",
            "Adds the tool with its places in Canvas: choosing content, the editor's button, the course navigation.",
            tool.xml_config_url,
        ),
        (
            Export.JSON,
            "JSON configuration, LTI 1.3",
            "The same for a Canvas developer key.",
            tool.config_url,
        ),
    )
    files = (Export.CARTRIDGE_1P3, Export.CARTRIDGE_1P1, Export.CSV)
    return [
        Offer(export, title, text, url, export in files, notes_for(export, own_lms))
        for export, title, text, url in said
    ]
