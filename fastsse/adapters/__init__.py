"""Event streams in the manner of each framework, and our decoder in the clients of SDKs.

Each framework has one thin module, which imports that framework alone.

    framework, server          module        how the stream runs
    FastAPI, Starlette, ASGI   none          `fastsse.EventSourceResponse` is the response
    Litestar                   litestar      the ASGI response itself
    aiohttp, Sanic             themselves    the ASGI response, whose messages become the framework's writes
    Django under ASGI, Quart   themselves    the ASGI response; the framework takes its parts and sends them
    Django under WSGI          django        the ASGI response, on one loop for all streams; each stream has the
    Flask                      flask         thread that the server gave it, which takes the parts and waits in between
    any WSGI server            wsgi

Each module has `EventSourceResponse`, with the items and options of `fastsse.EventSourceResponse`, for an endpoint to
return; `from_asgi`, which makes the framework's response of any ASGI response, such as ``hub.response("news")``; and
`last_event_id`. Heartbeats, disconnects, time-outs, shutdown and clean-up are therefore those of the ASGI response. The
docstring of each module says what its framework cannot do.

The modules openai and anthropic have `use_fastsse`, which gives a client of that SDK our decoder; httpx2 has the
`EventSource` of that library with our decoder.
"""

from __future__ import annotations

__all__: list[str] = []
