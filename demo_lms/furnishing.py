"""What is provisioned for the demo, and the demo LMS's course made of the answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from demo_lms.presets import preset_of

MEETINGS_KEY = "demo-meetings"
ORGANIZATION_FILE = Path(__file__).with_name("organization.yaml")


class Unfurnished(Exception):
    """The platform's answer lacks something that the demo's course needs; the text names it."""


def definition(kept: Mapping[str, str], lms_url: str, meetings_url: str = "") -> dict[str, Any]:
    """The organization file with secrets and addresses filled in; its `lms_course` beside its `organizations`.

    Its meeting servers, if it has any, are the sandbox at `meetings_url`.
    """
    data: dict[str, Any] = yaml.safe_load(ORGANIZATION_FILE.read_text(encoding="utf-8"))
    organization = data["organizations"][0]
    organization["owners"][0]["password"] = kept["DEMO_OWNER_PASSWORD"]
    organization["teachers"][0]["password"] = kept["DEMO_TEACHER_PASSWORD"]
    organization["installations"][0]["keys"][0]["shared_secret"] = kept["DEMO_SHARED_SECRET"]
    organization["api_tokens"][0]["token"] = kept["DEMO_API_TOKEN"]
    for server in organization.get("meeting_servers", []):
        server |= {"url": meetings_url, "api_key": MEETINGS_KEY, "api_secret": kept["DEMO_MEETINGS_SECRET"]}
    for course in organization["courses"]:
        for assignment in course["assignments"]:
            if assignment["kind"] == "link":
                assignment["content_url"] = f"{lms_url}/content/"
    registrations = [_registration(one, lms_url) for one in data["lms_course"].get("registrations", [])]
    if registrations:
        organization["installations"][0]["registrations"] = registrations
    return data


def _registration(one: Mapping[str, Any], lms_url: str) -> dict[str, Any]:
    """What the platform is told of the demo LMS as it plays one LMS."""
    preset = preset_of(one["preset"])
    return {
        "issuer": preset.shared_issuer or lms_url,
        "client_id": one["client_id"],
        "deployment_ids": [one["deployment_id"]],
        "auth_login_url": f"{lms_url}/auth",
        "token_url": f"{lms_url}/token",
        "jwks_url": f"{lms_url}/jwks.json",
        "service_hosts": [urlsplit(lms_url).netloc],
        **({"token_audience": preset.fixed_audience} if preset.fixed_audience else {}),
    }


def lms_course(
    data: Mapping[str, Any], answer: Mapping[str, Any], kept: Mapping[str, str], platform_url: str
) -> dict[str, Any]:
    """The JSON that the demo LMS reads its course from. Raises `Unfurnished`."""
    organization = data["organizations"][0]
    addresses = {"generic": f"{platform_url}/lti/v1"}
    try:
        for course in answer["organizations"][0]["courses"]:
            addresses[f"enroll:{course['code']}"] = course["enroll_url"]
            for room in course["rooms"]:
                addresses[f"room:{course['code']}/{room['slug']}"] = room["url"]
            for assignment in course["assignments"]:
                addresses[f"{course['code']}/{assignment['slug']}"] = assignment["url"]
                addresses[f"constant:{course['code']}/{assignment['slug']}"] = assignment["constant_url"]
        registered = data["lms_course"].get("registrations", [])
        clients = {one["preset"]: one["client_id"] for one in registered}
        links = [
            {
                **{name: value for name, value in link.items() if name not in ("leads_to", "lti_1p3_as")},
                "url": addresses[link["leads_to"]],
                **({"client_id": clients[link["lti_1p3_as"]]} if "lti_1p3_as" in link else {}),
            }
            for link in data["lms_course"]["links"]
        ]
        told = answer["organizations"][0]
        tools = [
            {
                **one,
                "name": organization["name"],
                "login_url": told["login_url"],
                "redirect_uris": [told["launch_url"]],
                "jwks_url": told["jwks_url"],
                "target_link_uri": told["launch_url"],
            }
            for one in registered
        ]
    except (KeyError, IndexError, TypeError) as error:
        raise Unfurnished(f"the answer of provision has no {error}") from None
    return {
        **{name: value for name, value in data["lms_course"].items() if name != "registrations"},
        "links": links,
        "registered_tools": tools,
        "tool": {
            "platform_url": platform_url,
            "organization": organization["slug"],
            "consumer_key": organization["installations"][0]["keys"][0]["consumer_key"],
            "shared_secret": kept["DEMO_SHARED_SECRET"],
            "api_token": kept["DEMO_API_TOKEN"],
        },
    }


def summary(data: Mapping[str, Any], kept: Mapping[str, str], platform_url: str, lms_url: str) -> dict[str, Any]:
    """The document `var/demo.json` (contract §1)."""
    organization = data["organizations"][0]
    return {
        "platform_url": platform_url,
        "lms_url": lms_url,
        "organization": organization["slug"],
        "sign_ins": [
            {"role": "owner", "email": organization["owners"][0]["email"], "password": kept["DEMO_OWNER_PASSWORD"]},
            {
                "role": "teacher",
                "email": organization["teachers"][0]["email"],
                "password": kept["DEMO_TEACHER_PASSWORD"],
            },
            {"role": "operator", "email": OPERATOR_EMAIL, "password": kept["DEMO_OPERATOR_PASSWORD"]},
        ],
        "keys": [
            {
                "consumer_key": organization["installations"][0]["keys"][0]["consumer_key"],
                "shared_secret": kept["DEMO_SHARED_SECRET"],
            }
        ],
        "api_token": kept["DEMO_API_TOKEN"],
    }


OPERATOR_EMAIL = "operator@demo.example"
