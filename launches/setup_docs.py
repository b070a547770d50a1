"""The set-up guides as pages of docs/setup, from the same steps with example values. `make guides` writes them, and a
test fails when they are out of date."""

from collections.abc import Iterator, Sequence

from launches.setup_guides import Fill, FilledBox, FilledWay, Guide, Value, Values, fill, guides

TOOL = "https://tool.example.org"
_LTI_1P3 = f"{TOOL}/lti/1p3/your-organization"
_HEAD = "<!-- Written by `make guides` from launches/setup/{lms}.yaml: change it there. -->\n"

EXAMPLES: Values = {
    Fill.TOOL_NAME: (Value("Your organization"),),
    Fill.DOMAIN: (Value("tool.example.org"),),
    Fill.LAUNCH_URL: (Value(f"{TOOL}/lti/v1"),),
    Fill.CONSUMER_KEY: (Value(words="the installation's consumer key"),),
    Fill.SHARED_SECRET: (Value(words="its shared secret, which an owner reveals"),),
    Fill.PASSPORT: (Value("lti-platform:CONSUMER_KEY:SHARED_SECRET"),),
    Fill.XML_CONFIG_URL: (Value(f"{TOOL}/lti/v1/your-organization/config.xml"),),
    Fill.LTI_1P3_LAUNCH_URL: (Value(f"{_LTI_1P3}/launch"),),
    Fill.LOGIN_URL: (Value(f"{_LTI_1P3}/login"),),
    Fill.JWKS_URL: (Value(f"{_LTI_1P3}/jwks.json"),),
    Fill.CONFIG_URL: (Value(f"{_LTI_1P3}/config.json"),),
    Fill.INVITE: (Value(f"{_LTI_1P3}/register?invite=…", words="from “Make an invite link”"),),
    Fill.REGISTRATION: (Value(words="in the administration: LTI 1.3 registrations → Add"),),
    Fill.ACTIVATION: (Value(words="in the administration: the installation's page"),),
    Fill.ASSIGNMENT_URL: (Value(f"{TOOL}/lti/assignments/…", words="from the course's LTI/LMS page"),),
    Fill.PARAMETERS: (Value("course_target_id=cs101", words="only with constant URLs"),),
}


def documents() -> dict[str, str]:
    """The files of docs/setup by their names."""
    return {"README.md": _index()} | {f"{guide.lms}.md": _page(guide) for guide in guides()}


def _index() -> str:
    lines = [
        "<!-- Written by `make guides`. -->",
        "# Connecting an LMS",
        "",
        "Each guide says what to press and paste, with example values: `https://tool.example.org` stands for this",
        "platform, and `your-organization` for your organization's short name. The same guides with your own values",
        "and copy buttons, and a panel that waits for the first launch and says why it failed, are in the platform:",
        "for owners on the page of an LMS installation (“Set-up guide”), for teachers in each course.",
        "",
        "Consumer keys and shared secrets are for owners alone. Teachers ask them.",
        "",
        *(f"- [{guide.title}]({guide.lms}.md): {guide.intro}" for guide in guides()),
    ]
    return "\n".join(lines) + "\n"


def _page(guide: Guide) -> str:
    filled = fill(guide, EXAMPLES)
    lines = [
        _HEAD.format(lms=guide.lms) + f"# Connecting {guide.title}",
        "",
        guide.intro,
        "",
        "Values are examples; the platform shows the same guide with your own. See [all guides](README.md).",
        "",
        f"## 1. Connect {guide.title}",
        *_ways(filled.ways),
        "",
        "## 2. Easily forgotten",
        "",
        f"- **Names and grades.** {guide.privacy}",
        f"- **New window.** {guide.new_window} Some browsers keep cookies, microphone, camera, screen sharing and "
        "copying out of frames.",
        "- **Custom parameters.** Only courses with constant URLs need one: `course_target_id=` and the course's code. "
        f"{guide.parameters}",
        *([f"- **Copied courses.** {guide.copies}"] if guide.copies else []),
        "",
        "## 3. In each course",
        *_ways(filled.in_course),
    ]
    return "\n".join(lines) + "\n"


def _ways(ways: Sequence[FilledWay]) -> Iterator[str]:
    for filled in ways:
        version = f" (LTI {filled.way.version})" if filled.way.version else ""
        yield from ("", f"### {filled.way.title}{version}", "", f"*{filled.way.who}.*")
        if filled.way.note:
            yield from ("", filled.way.note)
        yield ""
        for number, step in enumerate(filled.steps, 1):
            yield f"{number}. {step.text}"
            indent = " " * len(f"{number}. ")
            yield from (f"{indent}- {box.name}: {_words(box)}" for box in step.boxes)


def _words(box: FilledBox) -> str:
    if box.choose:
        return f"**{box.choose}**"
    return "; ".join(
        f"`{value.text}`{f' ({value.words})' if value.words else ''}" if value.text else value.words
        for value in box.values
    )
