"""The exceptions of the broadcast: they hang in the tree that `fastsse.errors` draws."""

from __future__ import annotations

import pytest

import fastsse
from fastsse import broadcast, errors

FACES = (fastsse, broadcast)
EXCEPTIONS = {
    name: member
    for face in FACES
    for name in face.__all__
    if isinstance(member := getattr(face, name), type) and issubclass(member, BaseException)
}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_that_a_face_shows_descends_from_the_root_and_is_drawn(name: str) -> None:
    assert issubclass(EXCEPTIONS[name], fastsse.FastSSEError)
    assert name in str(errors.__doc__)


def test_every_exception_of_the_drawing_can_be_imported_from_a_face() -> None:
    drawn = {
        line.partition("── ")[2].split()[0]
        for line in str(errors.__doc__).splitlines()
        if "── " in line
    }

    # The adapters of SDKs show this one, and cannot be imported without an SDK.
    assert set(EXCEPTIONS) | {"UnsupportedSDK"} == drawn | {"FastSSEError"}
