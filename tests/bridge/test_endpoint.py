from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_otel_status.bridge.endpoint import Endpoint, Tls, endpoint_of, is_wanted
from prefect_otel_status.choice import GRPC, HTTP
from prefect_otel_status.settings import ConfigurationError
from tests.support.certificates import make_certificate

E = "OTEL_EXPORTER_OTLP_"
BASE = {f"{E}ENDPOINT": "http://collector:4318"}


def _http(address: str, shown: str | None = None, **rest: Any) -> Endpoint:
    return Endpoint(HTTP, address, shown or address, **rest)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({f"{E}ENDPOINT": "  "}, None),
        ({"OTEL_TRACES_EXPORTER": "none", **BASE}, None),
        ({"OTEL_TRACES_EXPORTER": "console", **BASE}, None),
        (BASE, _http("http://collector:4318/v1/traces")),
        ({f"{E}ENDPOINT": "http://c:1/otlp/"}, _http("http://c:1/otlp/v1/traces")),
        (
            {f"{E}ENDPOINT": "http://c:1/otlp?key=abc#x"},
            _http("http://c:1/otlp/v1/traces?key=abc", "http://c:1/otlp/v1/traces"),
        ),
        ({**BASE, f"{E}TRACES_ENDPOINT": "http://t:9/in"}, _http("http://t:9/in")),
        ({f"{E}TRACES_ENDPOINT": "http://t:9"}, _http("http://t:9/")),
        ({f"{E}LOGS_ENDPOINT": "http://l:9"}, None),
        ({f"{E}ENDPOINT": "https://c"}, _http("https://c/v1/traces", secure=True)),
        ({f"{E}ENDPOINT": "http://[::1]:4318"}, _http("http://[::1]:4318/v1/traces")),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, _http("http://localhost:4318/v1/traces")),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", f"{E}PROTOCOL": "grpc"},
            Endpoint(GRPC, "localhost:4317", "http://localhost:4317"),
        ),
        ({f"{E}ENDPOINT": "http://c:4317"}, Endpoint(GRPC, "c:4317", "http://c:4317")),
        ({f"{E}ENDPOINT": "https://c:4317/x"}, Endpoint(GRPC, "c:4317", "https://c:4317", True)),
        ({f"{E}ENDPOINT": "c:4317"}, Endpoint(GRPC, "c:4317", "https://c:4317", True)),
        (
            {f"{E}ENDPOINT": "c:4317", f"{E}INSECURE": "True"},
            Endpoint(GRPC, "c:4317", "http://c:4317"),
        ),
        (
            {f"{E}ENDPOINT": "c:4317", f"{E}INSECURE": "true", f"{E}TRACES_INSECURE": "false"},
            Endpoint(GRPC, "c:4317", "https://c:4317", True),
        ),
        (
            {**BASE, f"{E}HEADERS": "Authorization=Bearer%20a=b, x-scope = team-a ,"},
            _http(
                "http://collector:4318/v1/traces",
                headers=(("authorization", "Bearer a=b"), ("x-scope", "team-a")),
            ),
        ),
        (
            {**BASE, f"{E}HEADERS": "a=1", f"{E}TRACES_HEADERS": "b=2"},
            _http("http://collector:4318/v1/traces", headers=(("b", "2"),)),
        ),
        ({**BASE, f"{E}TIMEOUT": "2.5"}, _http("http://collector:4318/v1/traces", timeout=2.5)),
        ({**BASE, f"{E}TIMEOUT": "10000"}, _http("http://collector:4318/v1/traces", timeout=10)),
        ({**BASE, f"{E}COMPRESSION": "gzip"}, _http("http://collector:4318/v1/traces", gzip=True)),
        (
            {**BASE, f"{E}COMPRESSION": "gzip", f"{E}TRACES_COMPRESSION": "none"},
            _http("http://collector:4318/v1/traces"),
        ),
    ],
)
def test_the_endpoint_is_what_the_variables_say(
    environ: dict[str, str], expected: Endpoint | None
) -> None:
    assert endpoint_of("traces", environ) == expected


def test_each_signal_has_its_own_path() -> None:
    assert endpoint_of("logs", BASE) == _http("http://collector:4318/v1/logs")


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [({}, True), ({"OTEL_LOGS_EXPORTER": "none"}, False), ({"OTEL_LOGS_EXPORTER": "otlp"}, True)],
)
def test_none_is_not_the_local_folder(environ: dict[str, str], wanted: bool) -> None:
    assert is_wanted("logs", environ) is wanted


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ENDPOINT", "http://me:s3cret@c:4318", "put credentials into OTEL_EXPORTER_OTLP_HEADERS"),
        ("ENDPOINT", "http://me:s3cret", "its port is no number"),
        ("ENDPOINT", "http://c:70000/s3cret", "its port is no number"),
        ("ENDPOINT", "http://c:0/s3cret", "it names no host and port"),
        ("ENDPOINT", "http://:4318/s3cret", "it names no host and port"),
        ("ENDPOINT", "http://c:4318/a s3cret", "it names no host and port"),
        ("ENDPOINT", "http://[s3cret", "it is no address"),
        ("ENDPOINT", "http://1.2.3.999:4318/s3cret", "it is no address"),
        ("ENDPOINT", "file:///s3cret", "PREFECT_OTEL_STATUS_FOLDER"),
        ("ENDPOINT", "file:s3cret", "PREFECT_OTEL_STATUS_FOLDER"),
        ("ENDPOINT", "ftp://s3cret", "neither http nor https"),
        ("ENDPOINT", "unix:/s3cret", "it names no host and port"),
        ("ENDPOINT", "s3cret:4318", "begins with http:// or https://"),
        ("HEADERS", "s3cret", "percent-encoded"),
        ("HEADERS", "a b=s3cret", "percent-encoded"),
        ("HEADERS", "a=s3cret%0d%0ax: y", "percent-encoded"),
        ("HEADERS", "a=s3cret%C3%BC", "percent-encoded"),
        ("HEADERS", "=s3cret", "percent-encoded"),
        ("TIMEOUT", "s3cret", "no positive number"),
        ("TIMEOUT", "-1", "no positive number"),
        ("TIMEOUT", "0", "no positive number"),
        ("TIMEOUT", "inf", "no positive number"),
        ("TIMEOUT", "nan", "no positive number"),
        ("COMPRESSION", "s3cret", "use gzip or none"),
    ],
)
@pytest.mark.parametrize("own", ["", "TRACES_"])
def test_a_bad_value_is_named_and_not_repeated(name: str, value: str, says: str, own: str) -> None:
    variable = f"{E}{own}{name}"
    with pytest.raises(ConfigurationError) as raised:
        endpoint_of("traces", {**BASE, variable: value})
    assert str(raised.value).startswith(f"Bad setting: {variable}: ")
    assert says in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("INSECURE", "yes", "true nor false"), ("HEADERS", "grpc-timeout=1", "use another name")],
)
def test_what_grpc_alone_reads_is_checked_there(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        endpoint_of("traces", {f"{E}ENDPOINT": "c:4317", f"{E}{name}": value})


def test_headers_and_queries_do_not_show() -> None:
    environ = {f"{E}ENDPOINT": "http://c:1/?key=s3cret", f"{E}HEADERS": "a=s3cret"}
    assert "s3cret" not in repr(endpoint_of("traces", environ))


def test_certificates_are_looked_at(tmp_path: Path) -> None:
    ours, client = (make_certificate(tmp_path, name=name) for name in ("ours", "client"))
    environ = {
        f"{E}ENDPOINT": "https://c:4318",
        f"{E}CERTIFICATE": str(ours.certificate),
        f"{E}CLIENT_CERTIFICATE": str(client.certificate),
        f"{E}CLIENT_KEY": str(client.key),
    }
    endpoint = endpoint_of("traces", environ)
    assert endpoint is not None
    assert endpoint.tls == Tls(ours.certificate, client.certificate, client.key)
    # Without TLS nobody needs them.
    assert endpoint_of(
        "traces", {**environ, f"{E}ENDPOINT": "http://c:4318", f"{E}CERTIFICATE": "/"}
    )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("CERTIFICATE", None, "cannot be read: No such file"),
        ("CERTIFICATE", "nonsense", "PEM"),
        ("TRACES_CERTIFICATE", None, "cannot be read: No such file"),
        ("CLIENT_CERTIFICATE", "nonsense", "PEM"),
        ("CLIENT_KEY", "nonsense", "CLIENT_CERTIFICATE beside it"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, content: str | None, says: str
) -> None:
    path = tmp_path / "file.pem"
    if content:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=f"{E}{name}: .*{says}"):
        endpoint_of("traces", {f"{E}ENDPOINT": "https://c", f"{E}{name}": str(path)})
