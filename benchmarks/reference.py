"""The standard's section 9.2.6, word for word and character by character. Slow, and independent of fastsse."""

from __future__ import annotations

from benchmarks.corpora import Seen


def interpret(stream: bytes) -> list[Seen]:
    """The events of a whole event stream."""
    return list(_Interpreter(stream.decode("utf-8-sig", "replace")).events)


class _Interpreter:
    """ "Interpreting an event stream": one method for each thing that it says to do."""

    def __init__(self, text: str) -> None:
        self.data = ""
        self.event_type = ""
        self.last_event_id_buffer = ""
        self.retry: int | None = None
        self.events: list[Seen] = []
        for line in _lines(text):
            self.process(line)

    def process(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line[0] == ":":
            pass
        elif ":" in line:
            name = line[: line.index(":")]
            value = line[line.index(":") + 1 :]
            if value != "" and value[0] == " ":
                value = value[1:]
            self.process_field(name, value)
        else:
            self.process_field(line, "")

    def process_field(self, name: str, value: str) -> None:
        if name == "event":
            self.event_type = value
        elif name == "data":
            self.data = self.data + value + "\n"
        elif name == "id":
            if "\0" not in value:
                self.last_event_id_buffer = value
        elif name == "retry" and value != "" and all(digit in "0123456789" for digit in value):
            self.retry = int(value)

    def dispatch(self) -> None:
        last_event_id, retry, self.retry = self.last_event_id_buffer, self.retry, None
        if self.data == "":
            self.event_type = ""
            return
        data = self.data[:-1]
        self.events.append(Seen(data, self.event_type or "message", last_event_id, retry))
        self.data = ""
        self.event_type = ""


def _lines(text: str) -> list[str]:
    """The lines that a line end closes: CRLF, LF or CR."""
    lines: list[str] = []
    begin = at = 0
    while at < len(text):
        if text[at] not in "\r\n":
            at += 1
            continue
        lines.append(text[begin:at])
        at += 2 if text[at : at + 2] == "\r\n" else 1
        begin = at
    return lines
