"""What a refused launch says to the person in front of it: words for a student, more for a teacher."""

from dataclasses import dataclass

from launches.looking import MAY_NOT_LOOK, NOBODY_TO_LOOK_AT
from lti.errors import LaunchErrorCode as Code


@dataclass(frozen=True)
class RefusalText:
    """A page's title, what happened, what to do, and what a teacher can do about it."""

    title: str
    text: str
    advice: str
    staff: str

    @property
    def staff_alone(self) -> str:
        """What a teacher can do, for pages that name the reference in their own words."""
        return self.staff.removesuffix(_OWNER).strip()


_TELL_TEACHER = "If it happens again, tell your teacher and quote the reference below."
_REOPEN = "Go back to your course and open the link there once more."
_OWNER = "Send the reference below to the owner of the tool: the launch log shows what was expected and what came."

TEXTS: dict[Code, RefusalText] = {
    Code.MISSING_PARAMETER: RefusalText(
        "Your course did not say everything we need",
        "The link was opened without a piece of information that every launch has to carry.",
        f"{_REOPEN} {_TELL_TEACHER}",
        f"The LMS left out a required field. Check that it may send the user's id to external tools. {_OWNER}",
    ),
    Code.UNSUPPORTED_MESSAGE: RefusalText(
        "This kind of link is not supported",
        "Your course asked for something that we do not offer.",
        f"Tell your teacher and quote the reference below. {_REOPEN}",
        f"The LMS sent a message type that is not supported here. Use the assignment's LTI integration URL. {_OWNER}",
    ),
    Code.MALFORMED: RefusalText(
        "This page is opened from your course",
        "What reached us was not a complete launch. It may have been opened directly, or changed on the way.",
        f"{_REOPEN} {_TELL_TEACHER}",
        f"This is a launch URL: it goes into the LMS as an external tool and cannot be opened by itself. {_OWNER}",
    ),
    Code.AUTHENTICATION_FAILED: RefusalText(
        "Authentication failed",
        "We could not make sure that this launch comes from your course.",
        f"{_REOPEN} {_TELL_TEACHER}",
        f"Key, secret or launch URL in the LMS differ from ours. Paste all three again, without spaces. {_OWNER}",
    ),
    Code.TIMESTAMP_EXPIRED: RefusalText(
        "This launch is too old",
        "The link was opened too long ago, or a clock is wrong.",
        f"{_REOPEN} {_TELL_TEACHER}",
        f"If every launch fails like this, the clock of the LMS is wrong. {_OWNER}",
    ),
    Code.NONCE_REUSED: RefusalText(
        "This launch was already used",
        "The same launch reached us twice, as after a double click, a reload or the Back button.",
        _REOPEN,
        f"Nothing is broken: launch again from the course. {_OWNER}",
    ),
    Code.STATE_MISMATCH: RefusalText(
        "Your browser could not be recognised",
        "The launch was started in another browser, or cookies are blocked.",
        f"{_REOPEN} Allow cookies for this site, or open the link in a new tab.",
        f"Let the LMS open the tool in a new tab. {_OWNER}",
    ),
    Code.INSTALLATION_DISABLED: RefusalText(
        "This connection is switched off",
        "The connection between your course and this tool has been switched off.",
        "Tell your teacher and quote the reference below.",
        "The owner of the tool disabled the key, the LMS or the organization. Ask them to switch it on again.",
    ),
    Code.LTI_DISABLED: RefusalText(
        "This course is not open from here",
        "Opening it from the LMS has been switched off.",
        "Ask your teacher whether it will be opened again.",
        "LTI (or “enroll to course only”) is off for this course, or it is archived. A member of the organization who "
        "signs in directly can switch it on again, on the course's LTI/LMS page.",
    ),
    Code.ROLE_NOT_ALLOWED: RefusalText(
        "This is for teachers",
        "Your role in the course does not allow this.",
        "If you are a teacher there, ask your LMS administrator to check your role.",
        f"The LMS did not send a teacher's role for this course. {_OWNER}",
    ),
    Code.UNKNOWN_DESTINATION: RefusalText(
        "There is nothing behind this link",
        "What it pointed to does not exist, or no longer.",
        "Tell your teacher and quote the reference below.",
        f"Copy the assignment's LTI integration URL into the LMS again. {_OWNER}",
    ),
    Code.LINK_NOT_SET_UP: RefusalText(
        "Your teacher has not set this link up yet",
        "It is not connected to an assignment.",
        "Ask your teacher to open this link once; then open it again.",
        "Open the link as a teacher and choose what it shows.",
    ),
    Code.COURSE_NOT_READY: RefusalText(
        "This course is not linked yet",
        "We could not tell which course this link belongs to.",
        "Ask your teacher to open the link once; then open it again.",
        "Open the link as a teacher of the course: you are asked which course it is. Or let the LMS say it: "
        "course_target_id (the course's code) in the tool's custom parameters, or its course's SIS id.",
    ),
    Code.ALREADY_ANSWERED: RefusalText(
        "Your choice has been handed over already",
        "Every time your course opens this picker, it takes one answer.",
        "Look into your course: what you chose is there. To choose more, open the picker from your course again.",
        f"Open the picker from the course again to choose more. {_OWNER}",
    ),
    Code.TOO_MANY_REQUESTS: RefusalText(
        "Too many failed launches",
        "Too many launches failed within a minute.",
        f"Wait a minute. {_REOPEN}",
        f"The launches before this one are in the launch log. {_OWNER}",
    ),
}
# The same code, but who reads it is not the person that the launch is about.
TEXTS_OF_CHECKS: dict[str, RefusalText] = {
    NOBODY_TO_LOOK_AT: RefusalText(
        "There is no work to look at yet",
        "This person has never opened anything here.",
        "Their work can be looked at as soon as they have opened a link of the course themselves.",
        f"Nothing is made for a student while somebody looks at their work. {_OWNER}",
    ),
    MAY_NOT_LOOK: RefusalText(
        "Students' work is looked at by teachers",
        "Your course said that you opened somebody else's work, and that you are a student.",
        "If you are a teacher there, ask your LMS administrator to check your role.",
        f"The LMS sent a student's role in actual_user_role. {_OWNER}",
    ),
}
_FALLBACK = RefusalText("This launch was refused", "It could not be completed.", f"{_REOPEN} {_TELL_TEACHER}", _OWNER)


def refusal_text(code: Code, check: str = "") -> RefusalText:
    """The words for a code, or for the very check that failed where that has its own."""
    return TEXTS_OF_CHECKS.get(check) or TEXTS.get(code, _FALLBACK)
