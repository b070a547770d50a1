"""Compiles every template of the platform, and refuses what its security policy would break in the browser.

Run as ``python -m lti_platform.template_check``; the exit status is 1 when something is wrong.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import django
from django.conf import settings
from django.template import TemplateSyntaxError, engines

# The content security policy allows no inline script, handler or style; text of LMSs and people stays escaped.
FORBIDDEN = {
    "an inline event handler": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "an inline script": re.compile(
        r"<script(?![^>]*\bsrc\s*=)(?![^>]*\bnonce\s*=)(?![^>]*application/json)", re.IGNORECASE
    ),
    "an inline style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE),
    "an inline style element": re.compile(r"<style(?![^>]*\bnonce\s*=)", re.IGNORECASE),
    "the filter |safe": re.compile(r"\|\s*safe\b"),
    "autoescape off": re.compile(r"{%\s*autoescape\s+off"),
}
# Mails are read in mail programs, which know style attributes only.
MAIL_FOLDERS = {"mail", "email"}


def template_files() -> Iterator[Path]:
    """The platform's own templates: those of the project and of its apps, not of libraries."""
    folders = [Path(settings.BASE_DIR) / "templates", *sorted(Path(settings.BASE_DIR).glob("*/templates"))]
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.suffix in {".html", ".txt", ".svg"}:
                yield file


def problems_of(name: str, source: str) -> list[str]:
    """What is wrong with a template's source, as one line each."""
    found = []
    try:
        engines["django"].from_string(source)
    except TemplateSyntaxError as error:
        found.append(f"{name}: {error}")
    if name.endswith(".html") and not MAIL_FOLDERS & set(Path(name).parts):
        for what, pattern in FORBIDDEN.items():
            lines = (source.count("\n", 0, match.start()) + 1 for match in pattern.finditer(source))
            found.extend(f"{name}:{line}: {what}" for line in lines)
    return found


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lti_platform.settings")
    django.setup()
    files = list(template_files())
    problems = [
        problem
        for file in files
        for problem in problems_of(str(file.relative_to(settings.BASE_DIR)), file.read_text(encoding="utf-8"))
    ]
    for problem in problems:
        sys.stderr.write(problem + "\n")
    sys.stdout.write(f"{len(files)} templates, {len(problems)} problems\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
