"""Result sourcedids as Moodle makes them: JSON with quotes and braces, new at every launch, signed by a hash."""

import hashlib
import hmac
import json
import secrets

from django.conf import settings

from demo_lms.course import Course, Link, Person, person


class SourcedidRefused(Exception):
    """Not a sourcedid of this LMS; the text is Moodle's."""


def _hash(data: dict[str, object]) -> str:
    text = json.dumps(data, separators=(",", ":"))
    return hmac.new(settings.SECRET_KEY.encode(), b"sourcedid" + text.encode(), hashlib.sha256).hexdigest()


def result_sourcedid(link: Link, owner: Person) -> str:
    """A new sourcedid for the person's cell under this link; older ones stay valid."""
    data: dict[str, object] = {
        "instanceid": link.id,
        "userid": owner.id,
        "typeid": "1",
        "launchid": secrets.randbelow(2**31),
    }
    return json.dumps({"data": data, "hash": _hash(data)}, separators=(",", ":"))


def cell_of(sourcedid: str, course: Course) -> tuple[Link, Person]:
    """The cell that a sourcedid names. Raises `SourcedidRefused`."""
    try:
        content = json.loads(sourcedid)
        data, given = content["data"], str(content["hash"])
        expected = _hash(data)
        link, owner = course.link_by_id(str(data["instanceid"])), person(str(data["userid"]))
    except (ValueError, KeyError, TypeError):
        raise SourcedidRefused("SourcedId hash not valid") from None
    if not hmac.compare_digest(expected, given):
        raise SourcedidRefused("SourcedId hash not valid")
    if link is None or owner is None or link.maximum is None:
        raise SourcedidRefused("Tool does not accept grades")
    return link, owner
