"""Faults that are put into the client's machine on purpose: each must be found by the table of scenarios.

Knows where a fault goes; must not know how a scenario is played.
"""

from __future__ import annotations

from functools import partial

from support.mutations import Mutation

__all__ = ["CLIENT_MUTATIONS"]

_Fault = partial(Mutation, package="fastsse.client")
_OF = "connection:Connection."

CLIENT_MUTATIONS = [
    _Fault(
        "a status of 200 is enough",
        _OF + "answered",
        '_essence(response.headers.get("content-type", "")) != _EVENT_STREAM',
        "False",
    ),
    _Fault("204 is an error", _OF + "answered", "response.status == 204", "response.status == 205"),
    _Fault(
        "every status is come again after",
        _OF + "answered",
        "response.status in self._policy.retry_status",
        "response.status >= 400",
    ),
    _Fault(
        "no status is come again after",
        _OF + "answered",
        "response.status in self._policy.retry_status",
        "False",
    ),
    _Fault(
        "Retry-After is not heard",
        _OF + "_come_again",
        "max(self._delay(), asked)",
        "self._delay()",
    ),
    _Fault(
        "Retry-After takes the place of the reconnection time",
        _OF + "_come_again",
        "max(self._delay(), asked)",
        "asked or self._delay()",
    ),
    _Fault("a redirect is an error", _OF + "answered", "response.status in REDIRECTS", "False"),
    _Fault(
        "every redirect is permanent",
        _OF + "_redirected",
        "response.status in PERMANENT and target.method == self._target.method",
        "True",
    ),
    _Fault("no redirect is permanent", _OF + "_redirected", "if self._permanent:", "if False:"),
    _Fault(
        "a POST that became a GET is remembered",
        _OF + "_redirected",
        " and target.method == self._target.method",
        "",
    ),
    _Fault("redirects have no bound", _OF + "_redirected", "if self._hops > limit:", "if False:"),
    _Fault("redirects are never counted anew", _OF + "_begin_anew", "self._hops = 0", "pass"),
    _Fault(
        "the next attempt begins behind the redirect",
        _OF + "_begin_anew",
        "self._target = self._home",
        "pass",
    ),
    _Fault(
        "credentials go to another origin",
        _OF + "_headers",
        "if not self._target.credentials:",
        "if False:",
    ),
    _Fault(
        "a GET keeps the headers of its POST's body",
        _OF + "_headers",
        "if not self._target.body:",
        "if False:",
    ),
    _Fault(
        "a GET keeps the body of its POST",
        _OF + "begin",
        "self._request.body if self._target.body else None",
        "self._request.body",
    ),
    _Fault(
        "the last event ID is not sent",
        _OF + "_headers",
        "sendable(self.decoder.last_event_id) or None",
        "None",
    ),
    _Fault(
        "an event cut off is joined to the next connection",
        _OF + "begin",
        "self.decoder.reset()",
        "pass",
    ),
    _Fault(
        "the server's reconnection time is not heard",
        _OF + "_delay",
        "back_off(self.reconnection_time,",
        "back_off(policy.reconnection_time,",
    ),
    _Fault(
        "a mere connection ends the row of failures",
        _OF + "answered",
        "self.state = State.OPEN",
        "self.state = State.OPEN; self._succeed()",
    ),
    _Fault(
        "an event does not end the row of failures",
        _OF + "_succeed",
        "self._failures = self._retries = 0",
        "self._retries = 0",
    ),
    _Fault(
        "an event does not let retries be counted anew",
        _OF + "_succeed",
        "self._failures = self._retries = 0",
        "self._failures = 0",
    ),
    _Fault("retries are not counted", _OF + "_come_again", "self._retries += 1", "pass"),
    _Fault(
        "one retry too many", _OF + "_come_again", "self._retries >= limit", "self._retries > limit"
    ),
    _Fault(
        "the end of a stream is an error where nobody comes again",
        _OF + "ended",
        "error is None and self._policy.max_retries == 0",
        "False",
    ),
    _Fault(
        "a wait may be as long as the server likes",
        _OF + "_wait",
        "limit is not None and delay > limit",
        "False",
    ),
    _Fault(
        "max_time does not end a wait",
        _OF + "_wait",
        "self._deadline is not None and now + delay >= self._deadline",
        "False",
    ),
    _Fault(
        "max_time begins anew with each request",
        _OF + "begin",
        "self._deadline is None and self._policy",
        "self._policy",
    ),
    _Fault("a 401 is final", _OF + "_refreshes", "self._policy.refreshes and", "False and"),
    _Fault("401 is tried for ever", _OF + "_refreshes", "and self._refused is None", ""),
    _Fault("a content type is compared as it is written", "connection:_essence", ".lower()", ""),
    _Fault(
        "a content type is compared with its parameters",
        "connection:_essence",
        '.partition(";")[0]',
        "",
    ),
    _Fault(
        "an ID is sent with its control characters",
        "messages:sendable",
        '"" if _NOT_IN_VALUE.search(text) else text',
        "text",
    ),
    _Fault(
        "the back-off has no cap",
        "delays:back_off",
        "min((reconnection_time or _UNIT_OF_NONE) * 2.0**doublings, max_delay)",
        "(reconnection_time or _UNIT_OF_NONE) * 2.0**doublings",
    ),
    _Fault("there is no back-off", "delays:back_off", "if not doublings:", "if True:"),
    _Fault(
        "a back-off is shorter than the reconnection time",
        "delays:back_off",
        "reconnection_time + random()",
        "random()",
    ),
]
