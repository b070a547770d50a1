"""Locales as LMSs write them, in one form (A45)."""

from __future__ import annotations

import re

_LANGUAGE = re.compile(r"^[a-z]{2,3}$")
_SCRIPT = re.compile(r"^[a-z]{4}$")
_REGION = re.compile(r"^(?:[a-z]{2}|[0-9]{3})$")
_VARIANT = re.compile(r"^(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3})$")


def normalise_locale(raw: str) -> str:
    """A language tag in the manner of BCP 47 (RFC 5646 §2.1.1), or ``""`` when none can be read.

    ``EN-US__`` (Brightspace) is ``en-US``, ``pt_br`` (Moodle) is ``pt-BR``, ``en_US.UTF-8`` is ``en-US``.
    Parts that are no script, region or variant, such as Moodle's ``de_kids``, are left out.
    """
    if len(raw) > 64:
        return ""
    parts = [part for part in re.split(r"[-_]", re.split(r"[.@]", raw.strip().lower())[0]) if part]
    if not parts or not _LANGUAGE.match(parts[0]):
        return ""
    script = region = variant = ""
    for part in parts[1:]:
        if not script and not region and _SCRIPT.match(part) and part != "kids":
            script = part.capitalize()
        elif not region and _REGION.match(part):
            region = part.upper()
        elif not variant and _VARIANT.match(part):
            variant = part
    return "-".join(part for part in (parts[0], script, region, variant) if part)
