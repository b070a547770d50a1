"""Which LMS this one plays over LTI 1.3: what Moodle, Canvas, Blackboard and Brightspace do differently."""

from dataclasses import dataclass

from demo_lms.environment import own_url
from lti.products import product_of

CANVAS_STORAGE_FRAME = "post_message_forwarding"


@dataclass(frozen=True)
class Preset:
    """One LMS's manners.

    `storage_target` names the frame that keeps data for tools ("": none is offered). `is_moodle_grading`: whole
    seconds, 409, and a grade wiped by anything that is not final (moodle.md 37, 38).
    """

    name: str
    title: str
    family_code: str
    posts_initiation: bool = True
    has_json_hint: bool = False
    has_bare_roles: bool = False
    has_query_in_line_items: bool = False
    is_moodle_grading: bool = False
    needs_exact_types: bool = False
    pages_rosters: bool = True
    storage_target: str = ""
    token_lifetime: int = 3600

    @property
    def shared_issuer(self) -> str:
        """The issuer that all customers of the LMS's cloud share (D2), or ""."""
        return next(iter(product_of(self.name).shared_issuers), "")

    @property
    def issuer(self) -> str:
        """The shared issuer, or this LMS's URL."""
        return self.shared_issuer or own_url()

    @property
    def fixed_audience(self) -> str:
        """The audience that client assertions have at this LMS wherever its token endpoint is (D34), or ""."""
        return product_of(self.name).token_audience

    @property
    def token_audience(self) -> str:
        """What the audience of a client assertion must be; "": it is not looked at (moodle.md 34)."""
        return "" if self.name == "moodle" else self.fixed_audience or f"{own_url()}/token"


PRESETS = (
    Preset(
        name="moodle",
        title="Moodle",
        family_code="moodle",
        has_json_hint=True,
        has_bare_roles=True,
        has_query_in_line_items=True,
        is_moodle_grading=True,
        needs_exact_types=True,
        pages_rosters=False,
        token_lifetime=60,
    ),
    Preset(name="canvas", title="Canvas", family_code="canvas", storage_target=CANVAS_STORAGE_FRAME),
    Preset(
        name="blackboard",
        title="Blackboard",
        family_code="BlackboardLearn",
        posts_initiation=False,
        storage_target="_parent",
    ),
    Preset(name="brightspace", title="Brightspace", family_code="desire2learn", storage_target="_parent"),
)


def preset_of(name: str) -> Preset:
    """The preset of this name. Raises `ValueError`."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise ValueError(f"there is no LMS {name!r} to play")
