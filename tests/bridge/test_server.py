"""Where the server is, from Prefect's own settings."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import httpx
import pytest

from prefect_otel_status.bridge.server import PrefectServer, from_prefect_settings
from prefect_otel_status.settings import ConfigurationError
from prefect_otel_status.version import VERSION

API = "http://127.0.0.1:4200/api"
CLOUD = "https://api.prefect.cloud/api/accounts/aaaa/workspaces/bbbb"
AGENT = ("user-agent", f"prefect-otel-status/{VERSION}")
KEY = "pnu_0123456789secret"

CA_FILE = os.environ.get("SSL_CERT_FILE", "")
"""What Prefect trusts where nothing is set; it reads that when it is imported."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for Prefect, and none of its settings in the environment."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(monkeypatch: pytest.MonkeyPatch, **environ: str) -> PrefectServer:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return from_prefect_settings()


def test_a_server_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    server = read(monkeypatch, PREFECT_API_URL=f"{API}/")
    assert server == PrefectServer(
        api_url=API,
        headers=(AGENT,),
        token=None,
        csrf=True,
        ca_file=CA_FILE,
        ui_url="http://127.0.0.1:4200",
    )
    assert server.websocket_url == "ws://127.0.0.1:4200/api/events/out"
    assert server.origin == "http://127.0.0.1:4200"
    assert server.ssl_context() is None


def test_a_server_with_an_auth_string(monkeypatch: pytest.MonkeyPatch) -> None:
    server = read(
        monkeypatch,
        PREFECT_API_URL=API,
        PREFECT_API_AUTH_STRING="admin:päss",
        PREFECT_API_KEY=KEY,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED="false",
        PREFECT_UI_URL="https://ui.example/",
        PREFECT_API_REQUEST_TIMEOUT="5",
    )
    basic = base64.b64encode("admin:päss".encode()).decode()
    assert server == PrefectServer(
        api_url=API,
        headers=(AGENT, ("authorization", f"Basic {basic}")),
        token="admin:päss",
        csrf=False,
        ca_file=CA_FILE,
        ui_url="https://ui.example",
        timeout=5.0,
    )


def test_prefect_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.events.clients import events_out_socket_from_api_url

    server = read(monkeypatch, PREFECT_API_URL=CLOUD, PREFECT_API_KEY=f"{KEY}\n")
    assert server == PrefectServer(
        api_url=CLOUD,
        headers=(AGENT, ("authorization", f"Bearer {KEY}")),
        token=KEY,
        csrf=False,
        ca_file=CA_FILE,
        ui_url="https://app.prefect.cloud/account/aaaa/workspace/bbbb",
    )
    assert server.websocket_url == events_out_socket_from_api_url(CLOUD)
    assert server.ssl_context() is not None


def test_a_profile(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    profiles = home / "profiles.toml"
    profile = 'active = "ours"\n[profiles.ours]\nPREFECT_API_URL = "{}"\n'
    profiles.write_text(profile.format(API))
    assert read(monkeypatch).api_url == API
    profiles.write_text(profile.format("http://other:4200/api"))
    assert read(monkeypatch).api_url == "http://other:4200/api"


def test_custom_headers_but_not_those_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    custom = '{"X-Proxy": "let me in", "User-Agent": "me", "Prefect-Csrf-Token": "x"}'
    server = read(monkeypatch, PREFECT_API_URL=API, PREFECT_CLIENT_CUSTOM_HEADERS=custom)
    assert server.headers == (AGENT, ("x-proxy", "let me in"))


def test_tls(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    read(monkeypatch, PREFECT_API_URL="HTTPS://prefect.example/api")
    server = read(monkeypatch, PREFECT_API_TLS_INSECURE_SKIP_VERIFY="true")
    assert (server.api_url, server.verify) == ("https://prefect.example/api", False)
    assert server.websocket_url == "wss://prefect.example/api/events/out"
    context = server.ssl_context()
    assert context is not None
    assert not context.check_hostname
    ca_file = str(home / "none.pem")
    missing = PrefectServer("https://prefect.example/api", ca_file=ca_file)
    with pytest.raises(ConfigurationError, match="PREFECT_API_SSL_CERT_FILE cannot be read"):
        missing.ssl_context()


def test_a_file_of_trusted_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    import certifi

    monkeypatch.setenv("PREFECT_API_SSL_CERT_FILE", certifi.where())
    server = read(monkeypatch, PREFECT_API_URL="https://prefect.example/api")
    assert server.ca_file == certifi.where()
    context = server.ssl_context()
    assert context is not None
    assert context.check_hostname
    assert context.get_ca_certs()


def test_without_a_server_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = (
        "There is no Prefect server to read: Set PREFECT_API_URL, for instance "
        "http://127.0.0.1:4200/api, or choose a profile."
    )
    with pytest.raises(ConfigurationError) as caught:
        read(monkeypatch)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:4200/api",
        "file:///etc/passwd",
        "http://",
        "http://[::1/api",
        "http://host:port/api",
        "https://host/api?token=hush",
        "https://admin:hush@host/api",
        "https://hush@host/api",
        "ftp://admin:hush@host",
    ],
)
def test_a_bad_address_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"PREFECT_API_URL (must|an http)") as caught:
        read(monkeypatch, PREFECT_API_URL=url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_API_KEY", "hush\nhush"),
        ("PREFECT_API_KEY", "hüsh-hush"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"x": "hush\\r\\nhush"}'),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"x\\n": "hush"}'),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"x": ["hush"]}'),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", "hush"),
        ("PREFECT_API_REQUEST_TIMEOUT", "hush"),
    ],
)
def test_what_cannot_be_sent_or_read_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(monkeypatch, **{"PREFECT_API_URL": API, name: value})
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    server = read(monkeypatch, PREFECT_API_URL=CLOUD, PREFECT_API_KEY=KEY)
    assert KEY not in repr(server)
    assert KEY not in str(server)
    assert server.headers[1][1].endswith(KEY)


def test_its_headers_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    server = read(monkeypatch, PREFECT_API_URL=API, PREFECT_API_AUTH_STRING="a:b\n\ud7ff")
    assert httpx.Headers(dict(server.headers))["authorization"].startswith("Basic ")
