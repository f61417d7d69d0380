from __future__ import annotations

import asyncio
import email.utils
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from prefect_otel_status.bridge.endpoint import Endpoint, Tls
from prefect_otel_status.bridge.otlp import LogEvent, Resource, encode_log, encode_span, request
from prefect_otel_status.bridge.records import SpanRecord
from prefect_otel_status.bridge.senders.base import Kind, Outcome, Sender, clean, secrets_of
from prefect_otel_status.bridge.senders.folder import FolderSender
from prefect_otel_status.bridge.senders.grpc import GrpcSender
from prefect_otel_status.bridge.senders.http import HttpSender
from prefect_otel_status.choice import GRPC, HTTP
from prefect_otel_status.version import VERSION
from tests.support.certificates import Certificate, make_certificate
from tests.support.grpc_receiver import grpc_receiver
from tests.support.receiver import Received
from tests.support.scripted import Answer, scripted_receiver
from tests.support.server import free_port

RESOURCE = Resource((("service.name", "bridge"),))
NOW = 1_700_000_000.0


def span(name: str) -> bytes:
    return encode_span(SpanRecord(name, "INTERNAL", 1, 2, 3, 4), RESOURCE)


def log(name: str) -> bytes:
    return encode_log(LogEvent(name, "words", 1, 2), RESOURCE)


BODIES = [span("one"), span("two")]


def _http(address: str, **rest: Any) -> HttpSender:
    endpoint = Endpoint(HTTP, address, address, address.startswith("https"), **rest)
    return HttpSender(endpoint, now=lambda: NOW)


def _grpc(address: str, **rest: Any) -> GrpcSender:
    return GrpcSender(Endpoint(GRPC, address.rpartition("/")[2], address, **rest))


@asynccontextmanager
async def closing(sender: Sender) -> AsyncIterator[Sender]:
    try:
        yield sender
    finally:
        await sender.close()


async def _sent(sender: Sender, bodies: Sequence[bytes] = BODIES) -> Outcome:
    async with closing(sender):
        return await sender.send("traces", bodies)


# --- HTTP --------------------------------------------------------------------
async def test_a_real_receiver_gets_spans_and_logs_over_http(received: Received) -> None:
    for signal, bodies in (("traces", BODIES), ("logs", [log("said")])):
        async with closing(_http(f"{received.endpoint}/v1/{signal}")) as sender:
            assert await sender.send(signal, bodies) == Outcome(Kind.DELIVERED)
    assert set(await asyncio.to_thread(received.wait_for_spans, "one", "two")) == {"one", "two"}
    assert (await asyncio.to_thread(received.wait_for_log, "said")).body.string_value == "words"


@pytest.mark.parametrize("zipped", [False, True])
async def test_the_bytes_go_as_they_are_with_the_headers(zipped: bool) -> None:
    headers = (("authorization", "Bearer abc"), ("content-type", "text/plain"))
    with scripted_receiver() as scripted:
        sender = _http(f"{scripted.endpoint}/in", headers=headers, gzip=zipped)
        assert await _sent(sender) == Outcome(Kind.DELIVERED)
    [found] = scripted.requests
    assert (found.path, found.body) == ("/in", request(BODIES))
    said = {name: found.headers.get(name) for name in _SAID}
    assert said == {
        "authorization": "Bearer abc",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip" if zipped else None,
        "user-agent": f"prefect-otel-status/{VERSION}",
    }


_SAID = ("authorization", "content-type", "content-encoding", "user-agent")
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}


def _trace_answer(rejected: int, words: str) -> bytes:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = words
    return response.SerializeToString()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(200), Outcome(Kind.DELIVERED)),
        (Answer(202, b"\xff\xff", PROTOBUF), Outcome(Kind.DELIVERED)),
        (Answer(200, b"{}", JSON), Outcome(Kind.DELIVERED)),
        (Answer(200, b"[", JSON), Outcome(Kind.DELIVERED)),
        (Answer(200, b"[" * 50_000, JSON), Outcome(Kind.DELIVERED)),
        (Answer(200, b"ok", {"content-type": "text/plain"}), Outcome(Kind.DELIVERED)),
        (
            Answer(200, _trace_answer(3, "too\nold"), PROTOBUF),
            Outcome(Kind.PARTIAL, "too old", rejected=3),
        ),
        (
            Answer(200, _trace_answer(1, ""), PROTOBUF),
            Outcome(Kind.PARTIAL, "no reason was given", rejected=1),
        ),
        (
            Answer(200, _trace_answer(0, "slow down"), PROTOBUF),
            Outcome(Kind.DELIVERED, "slow down"),
        ),
        (
            Answer(200, b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "old"}}', JSON),
            Outcome(Kind.PARTIAL, "old", rejected=2),
        ),
        (
            Answer(200, b"<html>", {"content-type": "text/html; charset=utf-8"}),
            Outcome(Kind.UNAUTHORIZED, "a web page answered instead of an OTLP receiver"),
        ),
        (
            Answer(302, b"", {"location": "http://elsewhere.example"}),
            Outcome(Kind.UNAUTHORIZED, "302 Found"),
        ),
        (
            Answer(400, Status(message="bad\tspan").SerializeToString(), PROTOBUF),
            Outcome(Kind.REFUSED, "400 Bad Request: bad span"),
        ),
        (Answer(400, b"\xff", PROTOBUF), Outcome(Kind.REFUSED, "400 Bad Request")),
        (
            Answer(422, b'{"message": "bad span"}', JSON),
            Outcome(Kind.REFUSED, "422 Unprocessable Entity: bad span"),
        ),
        (Answer(413, b"too big"), Outcome(Kind.TOO_LARGE, "413 Request Entity Too Large: too big")),
        (
            Answer(401, b"<p>No</p>", {"content-type": "text/html"}),
            Outcome(Kind.UNAUTHORIZED, "401 Unauthorized"),
        ),
        (Answer(403), Outcome(Kind.UNAUTHORIZED, "403 Forbidden")),
        (Answer(404), Outcome(Kind.UNAUTHORIZED, "404 Not Found")),
        (Answer(405), Outcome(Kind.UNAUTHORIZED, "405 Method Not Allowed")),
        (
            Answer(429, b"busy", {"retry-after": "7"}),
            Outcome(Kind.RETRY, "429 Too Many Requests: busy", retry_after=7.0),
        ),
        (
            Answer(503, b"", {"retry-after": email.utils.formatdate(NOW + 90, usegmt=True)}),
            Outcome(Kind.RETRY, "503 Service Unavailable", retry_after=90.0),
        ),
        (
            Answer(503, b"", {"retry-after": email.utils.formatdate(NOW - 90, usegmt=True)}),
            Outcome(Kind.RETRY, "503 Service Unavailable", retry_after=0.0),
        ),
        (
            Answer(502, b"", {"retry-after": "soon"}),
            Outcome(Kind.RETRY, "502 Bad Gateway"),
        ),
        (
            Answer(504, b"", {"retry-after": "-5"}),
            Outcome(Kind.RETRY, "504 Gateway Timeout"),
        ),
        (Answer(500), Outcome(Kind.RETRY, "500 Internal Server Error", bounded=True)),
        (Answer(501), Outcome(Kind.RETRY, "501 Not Implemented", bounded=True)),
    ],
)
@pytest.mark.fault(3, 4, 34)
async def test_every_answer_has_its_outcome(answer: Answer, expected: Outcome) -> None:
    with scripted_receiver(answer) as scripted:
        assert await _sent(_http(scripted.endpoint)) == expected


async def test_the_words_on_logs_are_read_too() -> None:
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = 4
    answer = Answer(200, response.SerializeToString(), PROTOBUF)
    with scripted_receiver(answer) as scripted:
        async with closing(_http(scripted.endpoint)) as sender:
            found = await sender.send("logs", [log("said")])
    assert found == Outcome(Kind.PARTIAL, "no reason was given", rejected=4)


async def test_a_long_answer_is_read_in_part() -> None:
    with scripted_receiver(Answer(400, b"x" * 5_000_000)) as scripted:
        found = await _sent(_http(scripted.endpoint))
    assert (found.kind, len(found.message)) == (Kind.REFUSED, 300)


async def test_a_receiver_that_hangs_is_given_up() -> None:
    with scripted_receiver(Answer(None)) as scripted:
        found = await _sent(_http(scripted.endpoint, timeout=0.2))
    assert found == Outcome(Kind.RETRY, "no answer within 0.2 s")


async def test_nobody_there_is_tried_again() -> None:
    found = await _sent(_http(f"http://127.0.0.1:{free_port()}"))
    assert found == Outcome(Kind.RETRY, "All connection attempts failed")


async def test_the_sender_outlives_a_restart_of_the_receiver() -> None:
    port = free_port()
    async with closing(_http(f"http://127.0.0.1:{port}")) as sender:
        found = []
        for _ in range(2):
            with scripted_receiver(port=port):
                found.append((await sender.send("traces", BODIES)).kind)
            found.append((await sender.send("traces", BODIES)).kind)
    assert found == [Kind.DELIVERED, Kind.RETRY] * 2


async def test_a_receiver_cannot_make_us_repeat_a_key() -> None:
    headers = (("authorization", "Basic aGVsbG86d29ybGQ"), ("x-key", "s3cret-key"))
    words = b"no such key: s3cret-key (aGVsbG86d29ybGQ)"
    with scripted_receiver(Answer(401, words)) as scripted:
        found = await _sent(_http(scripted.endpoint, headers=headers))
    message = "401 Unauthorized: no such key: [redacted] ([redacted])"
    assert found == Outcome(Kind.UNAUTHORIZED, message)


async def test_a_key_in_the_address_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with scripted_receiver(Answer(401)) as scripted:
        async with closing(_http(f"{scripted.endpoint}/in?key=s3cret")) as sender:
            found = await sender.send("traces", BODIES)
            async with httpx.AsyncClient() as other:
                await other.post(f"{scripted.endpoint}/other", content=b"")
    assert found == Outcome(Kind.UNAUTHORIZED, "401 Unauthorized")
    assert [found.path for found in scripted.requests] == ["/in?key=s3cret", "/other"]
    assert [record.getMessage() for record in caplog.records] == [
        f'HTTP Request: POST {scripted.endpoint}/other "HTTP/1.0 200 OK"'
    ]


# --- TLS ---------------------------------------------------------------------
@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), name="ours")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), name="client")


async def test_https_with_our_own_authority(ours: Certificate) -> None:
    with scripted_receiver(tls=ours.server_context()) as scripted:
        sender = _http(scripted.endpoint, tls=Tls(ours.certificate))
        assert await _sent(sender) == Outcome(Kind.DELIVERED)
        assert [found.names for found in scripted.requests] == [["one", "two"]]


async def test_https_of_a_stranger_gets_nothing(ours: Certificate) -> None:
    with scripted_receiver(tls=ours.server_context()) as scripted:
        found = await _sent(_http(scripted.endpoint))
    assert found.kind is Kind.RETRY
    assert "CERTIFICATE_VERIFY_FAILED" in found.message
    assert scripted.requests == []


async def test_https_with_a_client_certificate(ours: Certificate, client: Certificate) -> None:
    context = ours.server_context(clients=client)
    with scripted_receiver(tls=context) as scripted:
        without = await _sent(_http(scripted.endpoint, tls=Tls(ours.certificate)))
        tls = Tls(ours.certificate, client.certificate, client.key)
        assert await _sent(_http(scripted.endpoint, tls=tls)) == Outcome(Kind.DELIVERED)
    assert without.kind is Kind.RETRY


async def test_a_certificate_that_was_renewed_is_read_again(
    ours: Certificate, client: Certificate, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(client.certificate.read_bytes())
    with scripted_receiver(tls=ours.server_context()) as scripted:
        async with closing(_http(scripted.endpoint, tls=Tls(file))) as sender:
            before = await sender.send("traces", BODIES)
            file.unlink()
            between = await sender.send("traces", BODIES)
            file.write_bytes(ours.certificate.read_bytes())
            after = await sender.send("traces", BODIES)
    assert [found.kind for found in (before, between, after)] == [
        Kind.RETRY,
        Kind.RETRY,
        Kind.DELIVERED,
    ]


# --- gRPC --------------------------------------------------------------------
@pytest.mark.parametrize("zipped", [False, True])
async def test_a_real_receiver_gets_spans_and_logs_over_grpc(zipped: bool) -> None:
    with grpc_receiver() as received:
        headers = (("authorization", "Bearer abc"),)
        async with closing(_grpc(received.endpoint, gzip=zipped, headers=headers)) as sender:
            assert await sender.send("traces", BODIES) == Outcome(Kind.DELIVERED)
            assert await sender.send("logs", [log("said")]) == Outcome(Kind.DELIVERED)
    assert [found.name for found in received.spans] == ["one", "two"]
    assert [found.event_name for found in received.logs] == ["said"]
    assert received.headers[0]["authorization"] == "Bearer abc"
    assert f"prefect-otel-status/{VERSION}" in received.headers[0]["user-agent"]


class _Script(grpc.GenericRpcHandler):  # type: ignore[misc]  # it has no stubs
    """Answers every call as it is told, and keeps the bytes."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.bodies: list[bytes] = []

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._call)

    def _call(self, body: bytes, context: Any) -> Any:
        self.bodies.append(body)
        if isinstance(self.answer, bytes):
            return self.answer
        code, words, metadata = self.answer
        context.set_trailing_metadata(metadata)
        context.abort(code, words)
        return None


@contextmanager
def scripted_grpc(
    answer: Any, *, port: int = 0, tls: Certificate | None = None
) -> Iterator[tuple[str, _Script]]:
    script = _Script(answer)
    server = grpc.server(ThreadPoolExecutor(2), handlers=(script,))
    address = f"127.0.0.1:{port}"
    if tls is None:
        bound = server.add_insecure_port(address)
    else:
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        bound = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield f"127.0.0.1:{bound}", script
    finally:
        server.stop(0).wait()


def _status(seconds: int | None) -> bytes:
    status = Status(code=8, message="busy", details=[AnyMessage(type_url="x/other")])
    if seconds is not None:
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=seconds)))
    return bytes(status.SerializeToString())


_INFO = RetryInfo(retry_delay=Duration(seconds=3)).SerializeToString()
_C = grpc.StatusCode


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Outcome(Kind.DELIVERED)),
        (_trace_answer(2, "old"), Outcome(Kind.PARTIAL, "old", rejected=2)),
        (_trace_answer(0, "slow"), Outcome(Kind.DELIVERED, "slow")),
        ((_C.UNAVAILABLE, "no", ()), Outcome(Kind.RETRY, "UNAVAILABLE: no")),
        ((_C.CANCELLED, "no", ()), Outcome(Kind.RETRY, "CANCELLED: no")),
        ((_C.DEADLINE_EXCEEDED, "no", ()), Outcome(Kind.RETRY, "DEADLINE_EXCEEDED: no")),
        ((_C.ABORTED, "no", ()), Outcome(Kind.RETRY, "ABORTED: no")),
        ((_C.OUT_OF_RANGE, "no", ()), Outcome(Kind.RETRY, "OUT_OF_RANGE: no")),
        ((_C.DATA_LOSS, "", ()), Outcome(Kind.RETRY, "DATA_LOSS: no reason was given")),
        (
            (_C.UNAVAILABLE, "no", (("grpc-retry-pushback-ms", "1500"),)),
            Outcome(Kind.RETRY, "UNAVAILABLE: no", retry_after=1.5),
        ),
        (
            (_C.UNAVAILABLE, "no", (("google.rpc.retryinfo-bin", _INFO),)),
            Outcome(Kind.RETRY, "UNAVAILABLE: no", retry_after=3.0),
        ),
        (
            (_C.RESOURCE_EXHAUSTED, "busy", (("grpc-status-details-bin", _status(7)),)),
            Outcome(Kind.RETRY, "RESOURCE_EXHAUSTED: busy", retry_after=7.0),
        ),
        (
            (_C.RESOURCE_EXHAUSTED, "busy", (("grpc-status-details-bin", _status(None)),)),
            Outcome(Kind.TOO_LARGE, "RESOURCE_EXHAUSTED: busy"),
        ),
        (
            (_C.RESOURCE_EXHAUSTED, "larger than max", (("grpc-status-details-bin", b"\xff"),)),
            Outcome(Kind.TOO_LARGE, "RESOURCE_EXHAUSTED: larger than max"),
        ),
        ((_C.UNAUTHENTICATED, "no", ()), Outcome(Kind.UNAUTHORIZED, "UNAUTHENTICATED: no")),
        ((_C.PERMISSION_DENIED, "no", ()), Outcome(Kind.UNAUTHORIZED, "PERMISSION_DENIED: no")),
        ((_C.UNIMPLEMENTED, "no", ()), Outcome(Kind.UNAUTHORIZED, "UNIMPLEMENTED: no")),
        ((_C.INVALID_ARGUMENT, "no", ()), Outcome(Kind.REFUSED, "INVALID_ARGUMENT: no")),
        ((_C.INTERNAL, "no", ()), Outcome(Kind.RETRY, "INTERNAL: no", bounded=True)),
        ((_C.UNKNOWN, "no", ()), Outcome(Kind.RETRY, "UNKNOWN: no", bounded=True)),
    ],
)
async def test_every_status_has_its_outcome(answer: Any, expected: Outcome) -> None:
    with scripted_grpc(answer) as (address, script):
        assert await _sent(_grpc(address)) == expected
    assert script.bodies == [request(BODIES)]


async def test_a_receiver_over_grpc_cannot_make_us_repeat_a_key() -> None:
    with scripted_grpc((_C.UNAUTHENTICATED, "no such key: s3cret-key", ())) as (address, _):
        found = await _sent(_grpc(address, headers=(("x-key", "s3cret-key"),)))
    assert found.message == "UNAUTHENTICATED: no such key: [redacted]"


@pytest.mark.fault(34)
async def test_grpc_that_takes_too_much_at_once_is_too_large() -> None:
    with grpc_receiver() as received:
        found = await _sent(_grpc(received.endpoint), [span("x" * 5_000_000)])
    assert found.kind is Kind.TOO_LARGE


async def test_nobody_there_over_grpc_is_tried_again() -> None:
    found = await _sent(_grpc(f"127.0.0.1:{free_port()}", timeout=5))
    assert found.kind is Kind.RETRY
    assert found.message.startswith("UNAVAILABLE: ")


async def test_grpc_outlives_a_restart_of_the_receiver() -> None:
    port = free_port()
    async with closing(_grpc(f"127.0.0.1:{port}", timeout=5)) as sender:
        found = []
        for _ in range(2):
            with scripted_grpc(b"", port=port):
                found.append((await sender.send("traces", BODIES)).kind)
            found.append((await sender.send("traces", BODIES)).kind)
    assert found == [Kind.DELIVERED, Kind.RETRY] * 2


async def test_grpc_with_our_own_authority(ours: Certificate, tmp_path: Path) -> None:
    with scripted_grpc(b"", tls=ours) as (address, script):
        sender = _grpc(address, secure=True, tls=Tls(ours.certificate))
        assert await _sent(sender) == Outcome(Kind.DELIVERED)
        stranger = await _sent(_grpc(address, secure=True, timeout=5))
        missing = await _sent(_grpc(address, secure=True, tls=Tls(tmp_path / "none.pem")))
    assert script.bodies == [request(BODIES)]
    assert (stranger.kind, missing.kind) == (Kind.RETRY, Kind.RETRY)


# --- the local folder --------------------------------------------------------
def _line(path: Path) -> Any:
    [line] = path.read_text().splitlines()
    return json.loads(line)


async def test_the_folder_gets_otlp_json_lines(tmp_path: Path) -> None:
    sender = FolderSender(tmp_path, size=10_000)
    assert await sender.send("traces", BODIES) == Outcome(Kind.DELIVERED)
    assert await sender.send("logs", [log("said")]) == Outcome(Kind.DELIVERED)
    await sender.close()
    spans = _line(tmp_path / "traces.jsonl")["resourceSpans"]
    names = [group["scopeSpans"][0]["spans"][0]["name"] for group in spans]
    assert names == ["one", "two"]
    assert spans[0]["scopeSpans"][0]["spans"][0]["spanId"] == "0000000000000002"
    logs = _line(tmp_path / "logs.jsonl")["resourceLogs"]
    assert logs[0]["scopeLogs"][0]["logRecords"][0]["eventName"] == "said"


async def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = await FolderSender(tmp_path / "file" / "sub", size=10_000).send("traces", BODIES)
    assert found == Outcome(Kind.RETRY, "the folder cannot be written: Not a directory")


async def test_bytes_that_are_damaged_are_refused(tmp_path: Path) -> None:
    found = await FolderSender(tmp_path, size=10_000).send("traces", [b"\xff"])
    assert found == Outcome(Kind.REFUSED, "its bytes are damaged")


# --- words -------------------------------------------------------------------
def test_words_are_one_clean_line() -> None:
    assert clean("a\n b\x1b[31m\x00 c\u2028d") == "a b\ufffd c d"
    assert clean("x" * 5000) == "x" * 299 + "…"
    assert clean("password=hunter22 for http://me:pw@host/") == (
        "password=[redacted] for http://[redacted]@host/"
    )


def test_what_is_short_is_no_secret() -> None:
    assert secrets_of([("a", "1"), ("b", "Bearer abcdef")]) == ("Bearer abcdef", "abcdef")
