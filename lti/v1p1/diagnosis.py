"""Why a signature does not match, in plain words for the owner (A20): common mistakes are tried one by one.

Nothing here accepts a launch: it is called after ``verify`` has refused one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from lti.redaction import REDACTED, is_personal
from lti.texts import truncated
from lti.v1p1.launch import Form, LaunchRequest, Secrets, signed_variants
from lti.v1p1.oauth1 import (
    SIGNATURE_METHODS,
    Pair,
    base_string_over,
    equal_in_constant_time,
    joined_base_string,
    normalised_parameters,
    query_pairs,
    signature_of,
)

_SHOWN_LIMIT = 16 * 1024
_TWICE_LIMIT = 20


@dataclass(frozen=True)
class SignatureDiagnosis:
    """What explains a signature.

    ``base_string`` is ours, personal values redacted, without the secret or the signature; ``explanation`` one or two
    plain sentences; ``variant`` a short name of the cause, for ``correction_hint`` (``"matches"`` when the signature
    is right after all, ``"secret_differs"`` when nothing tried explains it).
    """

    base_string: str
    explanation: str
    variant: str


@dataclass(frozen=True)
class _Attempt:
    variant: str
    explanation: str
    url: str
    parameters: str


def explain_signature(
    request: LaunchRequest, form: Form, secrets: Secrets | None, *, alternative_hosts: Sequence[str] = ()
) -> SignatureDiagnosis:
    """Find the mistake that would explain the signature of a refused launch.

    ``alternative_hosts`` are other public host names, with a port where it is not the usual one, under which this
    platform might have been called.
    """
    shown = _redacted_base_string(request.url, form)
    signature = form.values.get("oauth_signature", "")
    signature_method = form.values.get("oauth_signature_method", "")
    if not signature:
        text = "The launch is not signed: the LMS has no key or no secret for this tool."
        return SignatureDiagnosis(shown, text, "unsigned")
    if signature_method not in SIGNATURE_METHODS:
        text = f"The LMS signs with a method that is not accepted; set it to {' or '.join(SIGNATURE_METHODS)}."
        return SignatureDiagnosis(shown, text, "signature_method")
    if secrets is None:
        text = "The consumer key is not one of ours: it was mistyped in the LMS, or belongs to another platform."
        return SignatureDiagnosis(shown, text, "unknown_key")
    known = [secrets.current] if secrets.previous is None else [secrets.current, secrets.previous]
    for attempt in _attempts(request, form, alternative_hosts):
        if any(_matches(attempt, secret, signature_method, signature) for secret in known):
            return SignatureDiagnosis(shown, attempt.explanation, attempt.variant)
    for pairs in signed_variants(request.url, form):
        plain = _Attempt("secret_whitespace", "", request.url, normalised_parameters(pairs))
        if any(_matches(plain, changed, signature_method, signature) for changed in _mistyped(known)):
            text = "The secret in the LMS has a space or line break too many: paste it again without."
            return SignatureDiagnosis(shown, text, "secret_whitespace")
    text = (
        "The secret differs: nothing else that was tried explains the signature. Copy the shared secret into the LMS "
        "again. If that does not help, compare the launch URL in the LMS with the one in the base string."
    )
    return SignatureDiagnosis(shown, text, "secret_differs")


def _matches(attempt: _Attempt, secret: str, signature_method: str, signature: str) -> bool:
    try:
        base = base_string_over("POST", attempt.url, attempt.parameters)
    except (ValueError, UnicodeError):
        return False
    return equal_in_constant_time(signature_of(base, secret, signature_method), signature)


def _mistyped(known: Iterable[str]) -> Iterator[str]:
    for secret in known:
        for before in ("", " ", "\t"):
            for after in ("", " ", "\n", "\r\n", "\t"):
                if before or after:
                    yield f"{before}{secret}{after}"
        if secret != secret.strip():
            yield secret.strip()


def _attempts(request: LaunchRequest, form: Form, hosts: Sequence[str]) -> Iterator[_Attempt]:
    """Every mistake of the URL with both ways to sign a query, then every mistake of the parameters."""
    # The URLs tried have one query: what is costly for a large form is done once.
    signed = [normalised_parameters(pairs) for pairs in signed_variants(request.url, form)]
    for variant, url, explanation in _urls(request, hosts):
        yield from (_Attempt(variant, explanation, url, parameters) for parameters in signed)
    if form.query_pairs:
        text = (
            "The LMS signed the launch URL without its query ({query}), but calls it with it. "
            "Enter the whole URL as launch URL in the LMS, or move the query into custom parameters."
        )
        names = ", ".join(name for name, _ in form.query_pairs)
        without_query = normalised_parameters(form.pairs)
        for _, url, _ in _urls(request, hosts):
            yield _Attempt("query_left_out", text.format(query=names), url, without_query)
    yield from _changed_parameters(request.url, form)


def _urls(request: LaunchRequest, hosts: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    parts = urlsplit(request.url)
    here = request.url.partition("?")[0]
    yield "matches", request.url, "The signature matches; the launch was refused for another reason."
    for alias in request.alternative_urls:
        yield "matches", alias, "The signature matches a registered alias of this URL."

    swapped = "http" if parts.scheme == "https" else "https"
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    netlocs = {parts.netloc: ""}
    netlocs.setdefault(bracketed, "port")
    for port in ("443", "80", "8000", "8080", "8443"):
        netlocs.setdefault(f"{bracketed}:{port}", "port")
    for other in hosts:
        netlocs.setdefault(other, "host")
        netlocs.setdefault(other.partition(":")[0], "host")
    for alias in request.alternative_urls:
        netlocs.setdefault(urlsplit(alias).netloc, "host")
    for netloc, kind in netlocs.items():
        for scheme in (parts.scheme, swapped):
            if netloc == parts.netloc and scheme == parts.scheme:
                continue
            url = urlunsplit((scheme, netloc, parts.path, parts.query, ""))
            there = url.partition("?")[0]
            if kind:
                cure = (
                    "correct the launch URL in the LMS, or set BASE_URL (or X-Forwarded-Host and X-Forwarded-Port at "
                    "the proxy)"
                )
            else:
                cure = "set BASE_URL, or X-Forwarded-Proto at the proxy"
            yield kind or "scheme", url, f"The LMS signed {there} but the platform received {here}: {cure}."

    path = parts.path.rstrip("/") if parts.path.endswith("/") else parts.path + "/"
    url = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    yield (
        "trailing_slash",
        url,
        f"The LMS signed {url.partition('?')[0]} but calls {here}: correct the slash at the end of the launch URL.",
    )
    for other_path in _shorter_paths(parts.path):
        url = urlunsplit((parts.scheme, parts.netloc, other_path, parts.query, ""))
        there = url.partition("?")[0]
        yield "path", url, f"The LMS signed {there} but the platform received {here}: a proxy changes the path."


def _shorter_paths(path: str) -> Iterator[str]:
    """The path without its first segments (a proxy added them), and in lower case."""
    segments = path.strip("/").split("/")
    slash = "/" if path.endswith("/") else ""
    for start in range(1, min(len(segments), 3)):
        yield "/" + "/".join(segments[start:]) + slash
    if path.lower() != path:
        yield path.lower()
    yield "/"


def _changed_parameters(url: str, form: Form) -> Iterator[_Attempt]:
    """The same URL with parameters as they may have been before something on the way changed them."""
    in_query = tuple(query_pairs(url))

    def changed(variant: str, explanation: str, pairs: Iterable[Pair]) -> _Attempt:
        return _Attempt(variant, explanation, url, normalised_parameters((*in_query, *pairs)))

    yield changed(
        "line_breaks",
        "The LMS signed line breaks as LF, and the browser sent CRLF (or the other way round): "
        "take the line breaks out of the link's description and custom parameters.",
        ((name, value.replace("\r\n", "\n")) for name, value in form.pairs),
    )
    yield changed(
        "line_breaks",
        "The LMS signed line breaks as CRLF, and LF arrived: something on the way changes line breaks.",
        ((name, value.replace("\r\n", "\n").replace("\n", "\r\n")) for name, value in form.pairs),
    )
    yield changed(
        "spaces",
        "The LMS signed values with spaces around them that did not arrive, or the other way round.",
        ((name, value.strip()) for name, value in form.pairs),
    )
    yield changed(
        "names_lowered",
        "The LMS signed the parameters' names in lower case and sends them in mixed case.",
        ((name.lower(), value) for name, value in form.pairs),
    )
    yield changed(
        "submit_button",
        "The LMS did not sign the name of the submit button, which arrives with the form.",
        (pair for pair in form.pairs if not pair[0].endswith("submit")),
    )
    yield changed(
        "empty_values",
        "The LMS did not sign parameters that are empty.",
        (pair for pair in form.pairs if pair[1]),
    )
    yield changed(
        "plus_signs",
        "A plus sign arrived as a space: something on the way decodes the form twice.",
        ((name, value.replace(" ", "+")) for name, value in form.pairs),
    )
    own = [pair for pair in form.pairs if pair[0].startswith("custom_") and pair not in in_query]
    for name, value in own if len(own) <= _TWICE_LIMIT else ():
        # A query of the launch URL that was signed, and then sent in the form alone.
        yield changed(
            "query_added",
            f"The LMS signed {name} twice, in the launch URL and in the form: take it out of one of them.",
            (*form.pairs, (name, value)),
        )


def _redacted_base_string(url: str, form: Form) -> str:
    pairs = signed_variants(url, form)[-1]
    shown = [(name, REDACTED if value and is_personal(name) else value) for name, value in pairs]
    try:
        return truncated(joined_base_string("POST", url, shown), _SHOWN_LIMIT)
    except (ValueError, UnicodeError):
        return ""
