"""LMS products and what is peculiar to each: how to recognise it, and which of its screens corrects what (A35, I).

One class per LMS over the standard's behaviour; each departure carries its reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from lti.errors import LaunchErrorCode

_CREDENTIALS = "credentials"

# Which part of an LMS's tool settings an error points to.
_SUBJECTS: Mapping[LaunchErrorCode, str] = {
    LaunchErrorCode.AUTHENTICATION_FAILED: _CREDENTIALS,
    LaunchErrorCode.INVALID_TOKEN: "platform",
    LaunchErrorCode.PLATFORM_ERROR: "platform",
    LaunchErrorCode.PLATFORM_UNREACHABLE: "platform",
    LaunchErrorCode.DEPLOYMENT_PENDING: "platform",
    LaunchErrorCode.TIMESTAMP_EXPIRED: "clock",
    LaunchErrorCode.NONCE_REUSED: "again",
    LaunchErrorCode.STATE_MISMATCH: "window",
    LaunchErrorCode.MISSING_PARAMETER: "privacy",
    LaunchErrorCode.UNSUPPORTED_MESSAGE: "placement",
    LaunchErrorCode.UNKNOWN_DESTINATION: "url",
    LaunchErrorCode.LINK_NOT_SET_UP: "link",
    LaunchErrorCode.COURSE_NOT_READY: "custom",
    LaunchErrorCode.ROLE_NOT_ALLOWED: "roles",
}

# Diagnoses of a wrong signature that are not about the credentials (lti.v1p1.diagnosis).
_VARIANT_SUBJECTS: Mapping[str, str] = {
    "scheme": "proxy",
    "port": "proxy",
    "host": "url",
    "path": "url",
    "trailing_slash": "url",
    "query_left_out": "url",
    "query_added": "url",
    "secret_whitespace": _CREDENTIALS,
    "secret_differs": _CREDENTIALS,
    "unsigned": _CREDENTIALS,
    "unknown_key": _CREDENTIALS,
}


class Product:
    """An LMS that does what the standard says."""

    name = ""
    title = "your LMS"
    family_codes: tuple[str, ...] = ()
    ext_lms_prefixes: tuple[str, ...] = ()
    parameter_prefixes: tuple[str, ...] = ()

    #: Whether query parameters are copied into the body and signed once (A10).
    signs_query_once = False
    #: What ends a line in a comment sent with a grade.
    comment_line_break = "\n"
    #: Whether readResult and deleteResult work beside replaceResult (B22).
    reads_and_deletes_results = True
    #: Whether LTI 1.1 launches name a place to go back to (A44).
    sends_return_url = True
    #: Issuers that all customers of a cloud share, so that their host says nothing about who registers (D2, D41).
    shared_issuers: tuple[str, ...] = ()
    #: Hosts of this LMS's services beside those of a registration's endpoints (design: where grades may go).
    service_hosts: tuple[str, ...] = ()
    #: The fixed audience of token requests, where it is not the token URL (D34).
    token_audience = ""

    tool_screen = "the settings of this external tool in your LMS"
    link_screen = "the settings of this link in your LMS"

    def recognises(self, values: Mapping[str, str]) -> bool:
        """Whether these launch parameters are from this LMS (A35)."""
        family = _family(values)
        if family:
            return family in self.family_codes
        return False

    def recognises_by_extension(self, values: Mapping[str, str]) -> bool:
        """The same by the parameters that only this LMS adds, for a product code that says nothing."""
        ext_lms = values.get("ext_lms", "").lower()
        if any(ext_lms.startswith(prefix) for prefix in self.ext_lms_prefixes):
            return True
        return any(name.lower().startswith(prefix) for name in values for prefix in self.parameter_prefixes)

    def hints(self) -> Mapping[str, str]:
        """Where to correct what, by subject; each one sentence for the owner or teacher."""
        return {
            _CREDENTIALS: (
                f"Open {self.tool_screen} and enter consumer key and shared secret again, exactly as shown here."
            ),
            "platform": f"Open {self.tool_screen} and compare client id, deployment id and the platform's URLs.",
            "clock": "The clock of the LMS server and ours differ: its administrator should check NTP.",
            "again": "Go back to the course in the LMS and open the link again; a reload repeats the old launch.",
            "window": f"Open {self.link_screen} and choose a new window, since the browser blocks cookies in frames.",
            "privacy": f"Open {self.tool_screen} and let it send the user's id and the link's id.",
            "placement": f"Use a placement of {self.title} that opens a link; this one asks for something else.",
            "url": f"Open {self.link_screen} and paste the launch URL again, exactly as shown here.",
            "link": "Open the link in the LMS once as a teacher and choose what it shows; "
            f"or give its assignment's own URL in {self.link_screen}.",
            "proxy": "This is not an LMS setting: BASE_URL or the proxy's X-Forwarded-Proto and Host are wrong here.",
            "custom": f"Open {self.link_screen} and check the custom parameters that name the course.",
            "roles": f"Check in {self.title} which role this person has in the course itself.",
        }


class Canvas(Product):
    """Canvas of Instructure, cloud and self-hosted."""

    name = "canvas"
    title = "Canvas"
    family_codes = ("canvas",)
    ext_lms_prefixes = ("canvas",)
    parameter_prefixes = ("custom_canvas_",)
    # Canvas signs by RFC 5849 only with oauth_compliant set on the tool (A10).
    signs_query_once = True
    shared_issuers = (
        "https://canvas.instructure.com",
        "https://canvas.beta.instructure.com",
        "https://canvas.test.instructure.com",
    )
    service_hosts = ("*.instructure.com",)
    tool_screen = "Settings → Apps → View App Configurations → Edit for this app in Canvas"
    link_screen = "the assignment's Submission Type → External Tool (or the module item) in Canvas"

    def recognises_by_extension(self, values: Mapping[str, str]) -> bool:
        """Canvas also ends its guid in ``:canvas-lms``."""
        guid = values.get("tool_consumer_instance_guid", "")
        return guid.endswith(":canvas-lms") or super().recognises_by_extension(values)

    def hints(self) -> Mapping[str, str]:
        """Names are those of Canvas's English screens."""
        return {
            **super().hints(),
            "platform": "Open Admin → Developer Keys in Canvas, and compare the key's id and URLs; it must be ON.",
            "privacy": "Open Settings → Apps → View App Configurations → Edit in Canvas and set Privacy to Public.",
            "window": 'Tick "Load This Tool In A New Tab" in the assignment or module item in Canvas.',
            "custom": "Open Settings → Apps → View App Configurations → Edit → Custom Fields in Canvas; "
            "the course needs an SIS id of its own.",
        }


class Moodle(Product):
    """Moodle."""

    name = "moodle"
    title = "Moodle"
    family_codes = ("moodle",)
    ext_lms_prefixes = ("moodle",)
    tool_screen = (
        "Course → More → LTI External tools (or Site administration → Plugins → External tool → Manage tools) in Moodle"
    )
    link_screen = "the activity's settings (External tool → Edit settings) in Moodle"

    def hints(self) -> Mapping[str, str]:
        """Names are those of Moodle 4.5's English screens (moodle.md 1)."""
        return {
            **super().hints(),
            "privacy": f"Open {self.tool_screen} and under Privacy share the launcher's name and e-mail.",
            "window": "Set Default launch container to New window in the tool's settings in Moodle.",
            "platform": "Open Site administration → Plugins → External tool → Manage tools in Moodle and compare the "
            "tool configuration details; a pending tool must be activated.",
        }


class Chamilo(Product):
    """Chamilo LMS with its IMS/LTI plugin."""

    name = "chamilo"
    title = "Chamilo"
    family_codes = ("chamilo lms", "chamilo")
    ext_lms_prefixes = ("chamilo",)
    sends_return_url = False
    tool_screen = "Administration → Plugins → IMS/LTI (or the course tool IMS/LTI client) in Chamilo"
    link_screen = "the tool's settings in the IMS/LTI plugin in Chamilo"

    def hints(self) -> Mapping[str, str]:
        """Chamilo posts launches unsigned where key or secret is empty (A6)."""
        return {
            **super().hints(),
            _CREDENTIALS: f"Open {self.tool_screen} and enter consumer key and shared secret again: "
            "with either of them empty, launches are sent unsigned.",
        }


class Blackboard(Product):
    """Blackboard Learn."""

    name = "blackboard"
    title = "Blackboard"
    family_codes = ("blackboard learn", "blackboardlearn", "blackboard")
    ext_lms_prefixes = ("bb-",)
    # Blackboard shows a grade's comment as HTML (B19).
    comment_line_break = "<br/>"
    shared_issuers = ("https://blackboard.com",)
    service_hosts = ("*.blackboard.com",)
    tool_screen = "Administrator Panel → LTI Tool Providers → this provider → Edit in Blackboard"
    link_screen = "the item's Edit screen in Blackboard"


class Brightspace(Product):
    """Brightspace of D2L."""

    name = "brightspace"
    title = "Brightspace"
    family_codes = ("desire2learn", "d2l", "brightspace")
    ext_lms_prefixes = ("d2l", "desire2learn")
    parameter_prefixes = ("ext_d2l_",)
    service_hosts = ("*.brightspace.com", "*.desire2learn.com")
    token_audience = "https://api.brightspace.com/auth/token"  # noqa: S105 (an audience, no secret)
    tool_screen = "Admin Tools → External Learning Tools → this tool provider in Brightspace"
    link_screen = "Admin Tools → External Learning Tools → this link in Brightspace"


class Sakai(Product):
    """Sakai."""

    name = "sakai"
    title = "Sakai"
    family_codes = ("sakai",)
    ext_lms_prefixes = ("sakai",)
    parameter_prefixes = ("ext_sakai_",)
    tool_screen = "Site Info → External Tools (or Administration Workspace → External Tools) in Sakai"
    link_screen = "the External Tool's Edit screen in Sakai"


class Schoology(Product):
    """Schoology."""

    name = "schoology"
    title = "Schoology"
    family_codes = ("schoology",)
    ext_lms_prefixes = ("schoology",)
    shared_issuers = ("https://schoology.schoology.com",)
    service_hosts = ("*.schoology.com",)
    tool_screen = "Course Options → External Tools (or App Center → My Developer Apps) in Schoology"
    link_screen = "the material's Edit screen in Schoology"

    def hints(self) -> Mapping[str, str]:
        """Schoology has privacy switches of its own."""
        return {
            **super().hints(),
            "privacy": f"Open {self.tool_screen} and set Privacy to send name and e-mail.",
        }


class OpenEdX(Product):
    """Open edX with xblock-lti-consumer."""

    name = "openedx"
    title = "Open edX"
    family_codes = ("openedx", "open edx", "edx")
    ext_lms_prefixes = ("openedx",)
    # Its outcome service takes replaceResult only (B22).
    reads_and_deletes_results = False
    tool_screen = "Studio → Settings → Advanced Settings → LTI Passports in Open edX"
    link_screen = "the LTI Consumer block's Edit screen in Studio of Open edX"

    def recognises_by_extension(self, values: Mapping[str, str]) -> bool:
        """Open edX sends the site's name as product code, so that only the ids tell."""
        return (
            values.get("context_id", "").startswith("course-v1:")
            or "type@lti" in values.get("resource_link_id", "")
            or "/handler_noauth/outcome_service_handler" in values.get("lis_outcome_service_url", "")
            or super().recognises_by_extension(values)
        )

    def hints(self) -> Mapping[str, str]:
        """Open edX keeps credentials in one course setting of a form of its own."""
        return {
            **super().hints(),
            _CREDENTIALS: f"Open {self.tool_screen} and enter one line of the form id:consumer key:shared secret.",
            "privacy": "Open the LTI Consumer block's Edit screen in Studio and request the user's name and e-mail.",
        }


class Ilias(Product):
    """ILIAS as LTI consumer."""

    name = "ilias"
    title = "ILIAS"
    family_codes = ("ilias",)
    ext_lms_prefixes = ("ilias",)
    tool_screen = "Administration → Extending ILIAS → LTI → Providers in ILIAS"
    link_screen = "the object's Settings tab in ILIAS"

    def hints(self) -> Mapping[str, str]:
        """ILIAS's own session cookie is blocked in frames, too."""
        return {
            **super().hints(),
            "window": "Set Launch Method to New Window in the object's Settings tab in ILIAS.",
            "privacy": f"Open {self.tool_screen} and choose which user data are sent.",
        }


PRODUCTS: tuple[Product, ...] = (
    Canvas(),
    Moodle(),
    Chamilo(),
    Blackboard(),
    Brightspace(),
    Sakai(),
    Schoology(),
    OpenEdX(),
    Ilias(),
)
STANDARD = Product()


def product_of(lms: str) -> Product:
    """The product with this canonical name, else one that does what the standard says."""
    for product in PRODUCTS:
        if product.name == lms:
            return product
    return STANDARD


def product_of_issuer(issuer: str) -> Product:
    """The product whose customers share this LTI 1.3 issuer, else one that does what the standard says."""
    return next((product for product in PRODUCTS if issuer in product.shared_issuers), STANDARD)


def detect_lms(values: Mapping[str, str]) -> str:
    """The canonical name of the LMS that sent these parameters, or ``""`` (A35).

    The product code decides; where it says nothing (Open edX sends its site's name) the LMS's own extensions do.
    """
    for product in PRODUCTS:
        if product.recognises(values):
            return product.name
    for product in PRODUCTS:
        if product.recognises_by_extension(values):
            return product.name
    return ""


def correction_hint(lms: str, code: LaunchErrorCode, variant: str = "") -> str:
    """One sentence on which screen of the LMS corrects this error, or ``""`` where no screen of it does.

    ``variant`` is the diagnosis of a signature (``SignatureDiagnosis.variant``), which narrows it down.
    """
    subject = _VARIANT_SUBJECTS.get(variant) or _SUBJECTS.get(code, "")
    return product_of(lms).hints().get(subject, "")


def _family(values: Mapping[str, str]) -> str:
    return " ".join(values.get("tool_consumer_info_product_family_code", "").lower().split())
