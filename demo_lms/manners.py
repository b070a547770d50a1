"""The LMS's manners and faults: switches that stay until switched back, or for the next few messages."""

from dataclasses import dataclass

from demo_lms import storage

OUTCOMES = "outcomes"
LAUNCHES = "launches"
KEYS = "keys"
STORAGE = "storage"
ROSTERS = "rosters"

MODES: dict[str, dict[str, str]] = {
    OUTCOMES: {
        "normal": "Takes grades as it should",
        "slow": "Answers, but only after some seconds",
        "failing": "Fails with HTTP 500",
        "busy": "Answers HTTP 429, Too Many Requests, with Retry-After",
        "malformed": "Answers with broken XML, or over LTI 1.3 with a web page",
        "refuses": "Refuses: HTTP 200 with the code “failure”, as Moodle does; over LTI 1.3 HTTP 403",
        "unauthorized": "Does not accept the signature, or over LTI 1.3 the access token",
        "down": "Closes the connection without an answer",
    },
    LAUNCHES: {
        "normal": "Sends launches as Moodle does",
        "private": "Sends neither names nor e-mail addresses (Moodle's default for a teacher's own tool)",
        "wrong_secret": "Signs with a wrong secret, or over LTI 1.3 with a key that it does not publish",
        "clock_behind": "Has a clock that is 20 minutes behind",
        "replayed": "Uses the same nonce for every launch",
        "denied": "Answers an LTI 1.3 login with an error",
    },
    KEYS: {
        "normal": "Signs with its first key, the only one that it publishes",
        "rotated": "Signs with its second key; both are published",
    },
    STORAGE: {
        "normal": "Keeps data for tools where the LMS that it plays does",
        "older_names": "Knows the messages by their older names only (org.imsglobal.lti…)",
        "late": "Begins to listen late in the frame of its own in which Canvas keeps data",
        "off": "Keeps nothing, and says nothing about it",
    },
    ROSTERS: {
        "normal": "Tells everybody's names and e-mail addresses",
        "private": "Tells neither names nor e-mail addresses",
        "without_grace": "Leaves Grace Hopper out, as if she had left the course",
    },
}

TITLES = {
    OUTCOMES: "When a grade arrives",
    LAUNCHES: "When somebody opens a link",
    KEYS: "For its LTI 1.3 signatures",
    STORAGE: "When a tool in its frame asks it to keep data",
    ROSTERS: "When a tool reads the roster",
}
#: Switches that are for the next few messages; the others stay until switched back.
COUNTED = (OUTCOMES, LAUNCHES)


@dataclass(frozen=True)
class Manner:
    """`seconds` is how slow, or when to come back; `remaining` None means until switched back."""

    mode: str = "normal"
    seconds: int = 5
    remaining: int | None = None


def current(name: str) -> Manner:
    """How the switch stands."""
    with storage.transaction() as database:
        row = database.execute("SELECT * FROM switch WHERE name = ?", (name,)).fetchone()
    return Manner(row["mode"], row["seconds"], row["remaining"]) if row else Manner()


def switch(name: str, manner: Manner) -> None:
    """Set the switch. Raises `ValueError` for a mode that does not exist and for numbers out of range."""
    if name not in MODES:
        raise ValueError(f"switch must be one of {', '.join(MODES)}")
    if manner.mode not in MODES[name]:
        raise ValueError(f"mode must be one of {', '.join(MODES[name])}")
    if not 0 <= manner.seconds <= 120:
        raise ValueError("seconds must be from 0 to 120")
    if manner.remaining is not None and not 1 <= manner.remaining <= 1000:
        raise ValueError("times must be from 1 to 1000")
    with storage.transaction() as database:
        database.execute(
            "INSERT INTO switch (name, mode, seconds, remaining) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
            " SET mode = excluded.mode, seconds = excluded.seconds, remaining = excluded.remaining",
            (name, manner.mode, manner.seconds, manner.remaining),
        )


def take(name: str) -> Manner:
    """The manner for this message; one that is set for a number of messages counts down."""
    with storage.transaction() as database:
        row = database.execute("SELECT * FROM switch WHERE name = ?", (name,)).fetchone()
        if row is None:
            return Manner()
        if row["remaining"] == 1:
            database.execute("UPDATE switch SET mode = 'normal', remaining = NULL WHERE name = ?", (name,))
        elif row["remaining"] is not None:
            database.execute("UPDATE switch SET remaining = remaining - 1 WHERE name = ?", (name,))
    return Manner(row["mode"], row["seconds"], row["remaining"])
