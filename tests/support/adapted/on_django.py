"""The application of `shared` in Django: `asgi` and `wsgi`."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from support.adapted import shared

import fastsse

settings.configure(
    SECRET_KEY="none",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

from fastsse.adapters.django import (  # noqa: E402
    EventSourceResponse,
    afrom_asgi,
    from_asgi,
    last_event_id,
    run,
)

hub = shared.make_hub()


async def health(_: HttpRequest) -> HttpResponse:
    return HttpResponse()


def words(request: HttpRequest) -> Any:
    return EventSourceResponse(shared.words(last_event_id(request)))


async def endless(_: HttpRequest) -> Any:
    return EventSourceResponse(shared.endless(), **shared.ENDLESS)


def blocking(_: HttpRequest) -> Any:
    return EventSourceResponse(shared.blocking(), on_close=shared.log.append)


async def flood(_: HttpRequest) -> Any:
    return EventSourceResponse(shared.flood(), **shared.FLOOD)


async def fails(_: HttpRequest) -> Any:
    return EventSourceResponse(shared.fails())


async def afirst(request: HttpRequest) -> Any:
    return await afrom_asgi(
        request, fastsse.EventSourceResponse(shared.fails_first(), wait_first=True)
    )


def first(request: HttpRequest) -> Any:
    return from_asgi(request, fastsse.EventSourceResponse(shared.fails_first(), wait_first=True))


async def afollow(request: HttpRequest) -> Any:
    if not hub.started:  # Django runs no lifespan
        await hub.start()
    return await afrom_asgi(request, hub.response("news"))


def follow(request: HttpRequest) -> Any:
    return from_asgi(request, hub.response("news"))


async def apublish(_: HttpRequest) -> HttpResponse:
    await hub.publish("news", "hello")
    return HttpResponse()


def publish(_: HttpRequest) -> HttpResponse:
    hub.publish_threadsafe("news", "hello", timeout=5)
    return HttpResponse()


async def read_log(_: HttpRequest) -> JsonResponse:
    return JsonResponse(shared.log, safe=False)


urlpatterns = [
    path("health", health),
    path("words", words),
    path("endless", endless),
    path("blocking", blocking),
    path("flood", flood),
    path("fails", fails),
    path("log", read_log),
]


def asgi() -> Any:
    urlpatterns.extend([path("first", afirst), path("hub", afollow), path("publish", apublish)])
    return get_asgi_application()


def wsgi() -> Any:
    run(hub.start())
    urlpatterns.extend([path("first", first), path("hub", follow), path("publish", publish)])
    return get_wsgi_application()
