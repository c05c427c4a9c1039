"""Answers held against the hub's own description of them, the OpenAPI document.

Knows the document and whole answers; must not know how an answer came about.
"""

from __future__ import annotations

import json
from typing import Any

from support.neighbours import need
from support.servers import Reply

__all__ = ["OPEN", "Described"]

OPEN = "an event stream has no whole body"


class Described:
    """One document, and the answers that it allows.

    Args:
        document: as `/openapi.json` answers.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def operations(self) -> dict[str, set[str]]:
        """Return the methods of each path, in capital letters."""
        return {
            path: {method.upper() for method in found}
            for path, found in self.document["paths"].items()
        }

    def statuses(self, method: str, path: str) -> set[int]:
        """Return each status that an operation may answer."""
        return set(map(int, self.document["paths"][path][method.lower()]["responses"]))

    def check(self, method: str, path: str, reply: Reply) -> None:
        """Fail where an answer is not as the document says: its status, its type, its body."""
        responses = self.document["paths"][path][method.lower()]["responses"]
        assert str(reply.status) in responses, f"{method} {path}: {reply}"
        response = self._found(responses[str(reply.status)])
        content = response.get("content")
        if method == "HEAD" or content is None:
            assert reply.body in (b"", OPEN.encode()), reply
            return
        kind = reply.headers["content-type"]
        schema = content.get(kind) or content[kind.partition(";")[0]]
        if kind.partition(";")[0].endswith("json"):
            self._check_body(schema["schema"], json.loads(reply.body))

    def _check_body(self, schema: dict[str, Any], body: Any) -> None:
        jsonschema = need("jsonschema")
        whole = schema | {"components": self.document["components"]}
        faults = [
            error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(body)
        ]
        assert [] == faults, body

    def _found(self, node: dict[str, Any]) -> dict[str, Any]:
        """Follow a reference."""
        if "$ref" not in node:
            return node
        found: Any = self.document
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return dict(found)
