"""The adapter for Django: the real framework under real servers, of ASGI and of WSGI."""

from __future__ import annotations

import pytest
from support.adapted.contract import Contract, python
from support.neighbours import need

need("django")

ASGI = "support.adapted.on_django:asgi"
WSGI = "support.adapted.on_django:wsgi()"


class TestUnderASGI(Contract):
    needs = ("uvicorn",)
    command = python("uvicorn", "--no-access-log", "--factory", "--port", "PORT", ASGI)


@pytest.mark.long
class TestUnderGranian(Contract):
    needs = ("granian",)
    command = python("granian", "--interface", "asgi", "--factory", "--port", "PORT", ASGI)


@pytest.mark.long
class TestUnderDaphne(Contract):
    needs = ("daphne",)
    command = python("daphne", "-p", "PORT", "support.adapted.on_django_asgi:app")
    ends_bodies = False  # daphne may stop before Django has sent the end
    cuts = False  # daphne leaves the connection of a response that has failed open
    times_out = False  # daphne's send never waits


class TestUnderWSGI(Contract):
    needs = ("gunicorn",)
    command = python("gunicorn", "-k", "gthread", "--threads", "8", "-b", "127.0.0.1:PORT", WSGI)


@pytest.mark.long
class TestUnderSync(Contract):
    needs = ("gunicorn",)
    command = python("gunicorn", "-b", "127.0.0.1:PORT", WSGI)
    concurrent = False
