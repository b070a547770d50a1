"""Reads the document that `provision` is given: JSON or YAML, every key known, every error with its path."""

import json
from typing import Any

import pydantic
import yaml

from api.problems import field_path, plain_message
from api.reading import without_repetition
from api.schemas.provision import ProvisionFile

MOST_ERRORS = 50


class DocumentError(ValueError):
    """A document that cannot be read; `messages` are the reasons, each beginning with its path."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


class _Loader(yaml.SafeLoader):
    """YAML in which a key may stand once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} stands twice", node.value[index][0].start_mark
                )
        return dict(super().construct_mapping(node, deep))


def read_document(content: bytes) -> ProvisionFile:
    """The document, every value of it checked as far as it can be on its own. Raises DocumentError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(["The file is not UTF-8."]) from error
    document = _parse(text)
    if not isinstance(document, dict):
        raise DocumentError(["The file must be a mapping with the key `organizations`."])
    try:
        return ProvisionFile.model_validate(document)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        messages = [f"{field_path(one['loc'])}: {plain_message(dict(one))}" for one in found[:MOST_ERRORS]]
        if len(found) > MOST_ERRORS:
            messages.append(f"… and {len(found) - MOST_ERRORS} more")
        raise DocumentError(messages) from error


def _parse(text: str) -> Any:
    if text.lstrip()[:1] == "{":
        # Nearly all JSON is YAML, too, but for some escapes; and a YAML mapping may begin with a brace.
        try:
            return json.loads(text, object_pairs_hook=without_repetition)
        except json.JSONDecodeError as error:
            mistake = f"The file is neither JSON ({error.msg} in line {error.lineno}) nor YAML"
        except (ValueError, RecursionError) as error:
            raise DocumentError([f"The file is not JSON: {error}."]) from error
    else:
        mistake = "The file is not YAML"
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DocumentError([f"{mistake}: {' '.join(str(error).split())}"]) from error
