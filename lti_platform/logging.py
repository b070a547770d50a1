"""Logs: one line of JSON an event, with request, launch, organization and task ids, and without secrets (J14)."""

import logging
import logging.config
import re
from functools import lru_cache
from typing import Any

import structlog

# Whatever is logged under such a name is never written out.
SECRET_NAMES = re.compile(
    r"secret|password|token|signature|authorization|cookie|sourcedid|email|e_mail|id_token|assertion|private_key|sesskey",
    re.IGNORECASE,
)
EMAIL_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
SECRET_PAIR = re.compile(
    r"(?i)((?:oauth_signature|id_token|client_assertion|registration_token|access_token|sesskey|sourcedid|secret|password)"
    r"[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;]+"
)
QUERY = re.compile(r"\?\S+")
REDACTED = "[redacted]"


def redact_text(text: str) -> str:
    """The text without e-mail addresses and without the values of fields that carry secrets."""
    # Nearly every text has neither, and every request writes a line.
    if "=" in text or ":" in text:
        text = SECRET_PAIR.sub(rf"\1{REDACTED}", text)
    return EMAIL_ADDRESS.sub(REDACTED, text) if "@" in text else text


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return SECRET_NAMES.search(name) is not None


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: REDACTED if _is_secret(str(key)) else _redacted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(inner) for inner in value]
    return value


def redact(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """A structlog processor: the last one before rendering."""
    return {key: REDACTED if _is_secret(key) else _redacted(value) for key, value in event.items()}


class QueryFilter(logging.Filter):
    """Cuts the query off every URL in a message; gunicorn names the whole target of a request that broke."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = QUERY.sub("?[...]", record.getMessage())
        record.args = None
        return True


def redact_sentry_event(event: Any, hint: Any) -> Any:
    """Sentry gets the stack without local variables, request bodies, cookies and headers."""
    event.pop("request", None)
    event.pop("user", None)
    for value in event.get("exception", {}).get("values", []):
        value["value"] = redact_text(str(value.get("value", "")))
        for frame in (value.get("stacktrace") or {}).get("frames", []):
            frame.pop("vars", None)
    return event


def _shared_processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _renderer(log_format: str) -> Any:
    if log_format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(colors=False)


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """`logging.config`'s dictionary: every record, whoever writes it, through one formatter to standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _shared_processors(),
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    redact,
                    _renderer(log_format),
                ],
            }
        },
        "filters": {"no_query": {"()": QueryFilter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Their warnings repeat what the `request` line and `Internal Server Error` say.
            "django.server": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
            "gunicorn.error": {"level": "INFO", "handlers": [], "filters": ["no_query"], "propagate": True},
            "gunicorn.access": {"level": "INFO", "handlers": [], "propagate": True},
            "kombu": {"level": "WARNING"},
            "markdown_it": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
        },
    }


def configure_logging(log_format: str, level: str) -> None:
    """Sends both structlog's and the standard library's records through the same processors to standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            *_shared_processors()[1:],
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(logging_config(log_format, level))
