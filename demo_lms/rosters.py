"""Names and Role Provisioning Services 2.0: who is in the course (moodle.md 42)."""

from typing import Any

from demo_lms import course as courses
from demo_lms import manners
from demo_lms.course import Course, Person, RegisteredTool
from demo_lms.service_answers import Answered, Asked, as_json, page_of, refused
from demo_lms.sourcedids import result_sourcedid
from lti.v1p3 import vocabulary as names

_ROLE = "http://purl.imsglobal.org/vocab/lis/v2/membership#"
_PAGE = 2


def memberships(asked: Asked, tool: RegisteredTool, course: Course) -> Answered:
    """The members (GET), all or by `role`; with `rlid` those of one link, and what it would send for each."""
    if asked.method != "GET":
        return refused(asked, 405, "Method not allowed")
    if not asked.allows(names.SCOPE_MEMBERSHIP):
        return refused(asked, 403, "Insufficient scope")
    if tool.preset.needs_exact_types and asked.accept != names.MEMBERSHIPS_TYPE:
        return refused(asked, 400, "No handler found")
    mode = manners.current(manners.ROSTERS).mode
    role = asked.query.get("role", "").removeprefix(_ROLE)
    people = [
        person
        for person in courses.PEOPLE
        if role in ("", person.roles) and not (mode == "without_grace" and person.username == "grace")
    ]
    link = course.link_by_id(asked.query.get("rlid", ""))
    page, headers = page_of(asked, people, size=_PAGE if tool.preset.pages_rosters else None)

    def member(person: Person) -> dict[str, Any]:
        found: dict[str, Any] = {
            "status": "Active",
            "roles": [person.roles if tool.preset.has_bare_roles else f"{_ROLE}{person.roles}"],
            "user_id": person.id,
        }
        if mode != "private":
            found |= {
                "name": person.name,
                "given_name": person.given_name,
                "family_name": person.family_name,
                "email": person.email,
            }
            if tool.preset.name == "moodle":
                found["ext_user_username"] = person.username
        if link is not None:
            message: dict[str, Any] = {names.MESSAGE_TYPE: names.RESOURCE_LINK_REQUEST}
            if link.maximum is not None:
                sourcedid = result_sourcedid(link, person)
                message["https://purl.imsglobal.org/spec/lti-bo/claim/basicoutcome"] = {
                    "lis_result_sourcedid": sourcedid
                }
            found["message"] = [message]
        return found

    container = {
        "id": asked.url,
        "context": {"id": course.id, "label": course.code, "title": course.title},
        "members": [member(person) for person in page],
    }
    return as_json(container, names.MEMBERSHIPS_TYPE, headers=headers, result=f"{len(page)} members")
