"""The course of the demo LMS: its people, its links and the tool they lead to."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

from demo_lms import storage
from demo_lms.environment import course_file
from demo_lms.presets import Preset, preset_of
from lti.v1p3 import vocabulary as names

Container = Literal["frame", "window"]


@dataclass(frozen=True)
class Person:
    """Somebody of the demo LMS; `roles` as sent in a launch."""

    id: str
    given_name: str
    family_name: str
    username: str
    roles: str

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    @property
    def email(self) -> str:
        return f"{self.username}@demo-lms.example"

    @property
    def is_teacher(self) -> bool:
        return self.roles == "Instructor"


PEOPLE = (
    Person("4", "Ada", "Lovelace", "ada", "Learner"),
    Person("5", "Grace", "Hopper", "grace", "Learner"),
    Person("2", "Alan", "Turing", "alan", "Instructor"),
)


@dataclass(frozen=True)
class Link:
    """An external tool link of the course; `maximum` is that of its gradebook column, None without one.

    `client_id` says as which registered tool it is launched over LTI 1.3; "" is LTI 1.1. `course_id` is "" for a link
    of the course itself, else the id of the other course that it stands in.
    """

    id: str
    slug: str
    section: str
    title: str
    description: str
    url: str
    container: Container
    maximum: Decimal | None
    custom: Mapping[str, str] = field(default_factory=dict)
    client_id: str = ""
    resource_id: str = ""
    tag: str = ""
    course_id: str = ""
    is_added: bool = False

    @property
    def maximum_text(self) -> str:
        """The maximum without superfluous zeros; empty without a gradebook column."""
        return "" if self.maximum is None else f"{self.maximum.normalize():f}"


@dataclass(frozen=True)
class OtherCourse:
    """Another course of this LMS, of which only a link or two are shown. `copied_from`: course ids, newest first."""

    id: str
    code: str
    title: str
    copied_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    """What the administrator of the LMS entered about the platform."""

    platform_url: str
    organization: str
    consumer_key: str
    shared_secret: str = field(repr=False)
    api_token: str = field(repr=False)


@dataclass(frozen=True)
class RegisteredTool:
    """A tool as this LMS registered it for LTI 1.3, and which LMS is played for it."""

    client_id: str
    deployment_id: str
    preset: Preset
    name: str
    login_url: str
    redirect_uris: tuple[str, ...]
    jwks_url: str
    target_link_uri: str
    scopes: tuple[str, ...] = names.SERVICE_SCOPES
    messages: tuple[str, ...] = names.SUPPORTED_MESSAGES
    is_active: bool = True
    is_added: bool = False

    @property
    def title(self) -> str:
        return f"{self.name}, as {self.preset.title} does it"

    @property
    def picks_content(self) -> bool:
        return names.DEEP_LINKING_REQUEST in self.messages

    @property
    def reviews_submissions(self) -> bool:
        return names.SUBMISSION_REVIEW_REQUEST in self.messages


@dataclass(frozen=True)
class Course:
    id: str
    code: str
    title: str
    tool: Tool
    links: tuple[Link, ...]
    registered_tools: tuple[RegisteredTool, ...] = ()
    other_courses: tuple[OtherCourse, ...] = ()

    def course_of(self, link: Link | None) -> OtherCourse:
        """The course that a launch of the link is from."""
        own = OtherCourse(self.id, self.code, self.title)
        return next((one for one in self.other_courses if link is not None and one.id == link.course_id), own)

    def custom_of(self, link: Link) -> dict[str, str]:
        """The link's custom parameters with the variables that this LMS knows; others stay verbatim, as in Moodle."""
        course = self.course_of(link)
        known = {"$Context.id": course.id, "$Context.id.history": ",".join(course.copied_from)}
        return {name: known.get(value, value) for name, value in link.custom.items()}

    @property
    def sections(self) -> list[tuple[str, list[Link]]]:
        """The links under their headings, in order."""
        found: dict[str, list[Link]] = {}
        for link in self.links:
            found.setdefault(link.section, []).append(link)
        return list(found.items())

    @property
    def graded_links(self) -> list[Link]:
        return [link for link in self.links if link.maximum is not None]

    @property
    def active_tools(self) -> list[RegisteredTool]:
        return [tool for tool in self.registered_tools if tool.is_active]

    @property
    def picker_tools(self) -> list[RegisteredTool]:
        """The tools that a teacher can add links from."""
        return [tool for tool in self.active_tools if tool.picks_content]

    def active_tool(self, client_id: str) -> RegisteredTool | None:
        return next((tool for tool in self.active_tools if tool.client_id == client_id), None)

    def link(self, slug: str) -> Link | None:
        return next((link for link in self.links if link.slug == slug), None)

    def link_by_id(self, link_id: str) -> Link | None:
        return next((link for link in self.links if link.id == link_id), None)


def person(person_id: str) -> Person | None:
    return next((one for one in PEOPLE if one.id == person_id), None)


def read_tool(data: Mapping[str, Any]) -> RegisteredTool:
    """A registered tool from JSON. Raises `KeyError` or `ValueError`."""
    lists = {name: tuple(data[name]) for name in ("redirect_uris", "scopes", "messages") if name in data}
    return RegisteredTool(**{**data, **lists, "preset": preset_of(data["preset"])})


def _link(link_id: str, item: Mapping[str, Any]) -> Link:
    return Link(
        id=link_id,
        slug=item["slug"],
        section=item["section"],
        title=item["title"],
        description=item["description"],
        url=item["url"],
        container=item["container"],
        maximum=None if item["maximum"] is None else Decimal(str(item["maximum"])),
        custom=item.get("custom", {}),
        client_id=item.get("client_id", ""),
        resource_id=item.get("resource_id", ""),
        tag=item.get("tag", ""),
        course_id=item.get("course_id", ""),
    )


def read_course(path: Path) -> Course:
    """The course from its JSON file. Raises `OSError`, `ValueError` or `KeyError` for a file that is not one."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Course(
        id=data["id"],
        code=data["code"],
        title=data["title"],
        tool=Tool(**data["tool"]),
        links=tuple(_link(str(number), item) for number, item in enumerate(data["links"], start=1)),
        registered_tools=tuple(read_tool(one) for one in data.get("registered_tools", [])),
        other_courses=tuple(
            OtherCourse(one["id"], one["code"], one["title"], tuple(one.get("copied_from", [])))
            for one in data.get("other_courses", [])
        ),
    )


@cache
def _course_of_file() -> Course:
    return read_course(course_file())


def the_course() -> Course:
    """The course that this process was started with, and what was added and chosen since."""
    course = _course_of_file()
    with storage.reading() as database:
        added_tools = database.execute("SELECT * FROM registered_tool ORDER BY rowid").fetchall()
        added_links = database.execute("SELECT * FROM added_link ORDER BY number").fetchall()
        choices = {row["link_id"]: row["client_id"] for row in database.execute("SELECT * FROM link_choice")}
    tools = [
        replace(
            read_tool(json.loads(row["document"])),
            client_id=row["client_id"],
            deployment_id=row["deployment_id"],
            is_active=row["state"] == "active",
            is_added=True,
        )
        for row in added_tools
    ]
    links = [*course.links]
    for row in added_links:
        document = {**json.loads(row["document"]), "slug": f"added-{row['number']}", "client_id": row["client_id"]}
        links.append(replace(_link(str(1000 + row["number"]), document), is_added=True))
    return replace(
        course,
        links=tuple(replace(link, client_id=choices.get(link.id, link.client_id)) for link in links),
        registered_tools=(*course.registered_tools, *tools),
    )


def choose_lti(link: Link, client_id: str) -> None:
    """Launch the link from now on as this registered tool over LTI 1.3, or with "" over LTI 1.1."""
    with storage.transaction() as database:
        database.execute(
            "INSERT INTO link_choice (link_id, client_id) VALUES (?, ?)"
            " ON CONFLICT (link_id) DO UPDATE SET client_id = excluded.client_id",
            (link.id, client_id),
        )


def add_links(client_id: str, documents: Iterable[Mapping[str, Any]]) -> None:
    """Put links, each as in the course's JSON file, at the end of the course."""
    with storage.transaction() as database:
        for document in documents:
            database.execute(
                "INSERT INTO added_link (client_id, document) VALUES (?, ?)", (client_id, json.dumps(document))
            )


def remove_link(link: Link) -> None:
    """Take an added link away."""
    with storage.transaction() as database:
        database.execute("DELETE FROM added_link WHERE number = ?", (int(link.id) - 1000,))
