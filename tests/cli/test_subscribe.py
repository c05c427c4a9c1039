"""`fastsse subscribe` against a real broadcast; how it comes back is in test_following."""

from __future__ import annotations

from support.commands import Command, lines, subscriber
from support.servers import (
    DEADLINE,
    Server,
    serve,
    wait_for,
)


def test_subscribe_prints_the_data_of_each_event_at_once(server: Server, topic: str) -> None:
    server.publish(topic, "zero")
    with subscriber(server, topic, f"{topic}-b", "--last-event-id", "earliest") as process:
        assert ["zero"] == lines(process, 1)
        server.publish(topic, "one")
        assert ["one"] == lines(process, 1)
        server.publish(f"{topic}-b", "two")
        assert ["two"] == lines(process, 1)


def test_subscribe_goes_on_after_an_id(server: Server, topic: str) -> None:
    ids = [server.publish(topic, str(n)) for n in range(3)]

    with subscriber(server, topic, "--last-event-id", ids[0]) as process:
        assert ["1", "2"] == lines(process, 2)


def test_subscribe_tells_of_a_gap_beside_the_data(server: Server, topic: str) -> None:
    server.publish(topic, "kept")

    with subscriber(server, topic, "--last-event-id", "0-1") as process:
        assert ["kept"] == lines(process, 1)
        process.terminate()
        assert process.stderr is not None
        assert b"fastsse: gap: {" in process.stderr.read()


def test_subscribe_says_where_to_go_on_when_the_stream_ends() -> None:
    with serve() as server, subscriber(server, "news", "--no-retry") as process:
        wait_for(lambda: server.health()["streams"] == 1)
        id = server.publish("news", "hello")
        assert ["hello"] == lines(process, 1)

        server.process.terminate()

        _, errors = process.communicate(timeout=DEADLINE)
        assert 1 == process.returncode
        assert f"--last-event-id {id}" in errors.decode()


def test_subscribe_says_why_it_was_refused(command: Command, server: Server) -> None:
    done = command("subscribe", server.url, "x" * 300)

    assert (1, True) == (done.code, "refused (400): topic" in done.err), done


def test_subscribe_stops_when_nobody_reads(server: Server, topic: str) -> None:
    server.publish(topic, "x")
    with subscriber(server, topic, "--last-event-id", "earliest") as process:
        assert ["x"] == lines(process, 1)
        assert process.stdout is not None
        process.stdout.close()
        server.publish(topic, "y")

        assert 1 == process.wait(DEADLINE)
        assert process.stderr is not None
        assert b"" == process.stderr.read()
