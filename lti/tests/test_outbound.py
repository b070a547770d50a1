"""The guarded client against real servers on loopback."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lti.outbound import (
    AddressGuard,
    OutboundClient,
    OutboundFailed,
    OutboundPolicy,
    OutboundRefused,
    is_public_address,
)

LOOPBACK = ("127.0.0.0/8", "::1")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status=200, body=b"ok", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers), self.client_address))
        stopped = self.server.stopped
        if self.path == "/redirect":
            self.answer(302, b"x" * 1000, Location="/target", Set_Cookie="a=b")
        elif self.path == "/hang":
            stopped.wait(60)
        elif self.path == "/trickle-body":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.drip(b"x" * 1000)
        elif self.path == "/trickle-headers":
            self.drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"y" * 1000)
        elif self.path == "/large":
            self.send_response(200)
            self.send_header("Content-Length", str(10 * 1024 * 1024))
            self.end_headers()
            try:
                for _ in range(640):
                    self.wfile.write(b"z" * 16384)
            except OSError:
                self.close_connection = True
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
        elif self.path == "/bomb":
            self.answer(200, gzip.compress(b"0" * 50_000_000), Content_Encoding="gzip")
        elif self.path == "/garbage":
            self.wfile.write(b"not http at all\r\n\r\n")
            self.close_connection = True
        elif self.path == "/exact":
            self.answer(200, b"e" * 1000)
        else:
            self.answer(200, self.path.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, dict(self.headers), self.client_address))
        self.answer(200, body[::-1])

    def drip(self, content):
        try:
            for byte in content:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.server.stopped.wait(0.05):
                    break
        except OSError:
            pass
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Clients that go away in the middle are what these tests are about."""


def serve(context=None):
    server = Server(("127.0.0.1", 0), Handler)
    server.seen, server.stopped = [], threading.Event()
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def server():
    server = serve()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def client():
    client = OutboundClient(policy())
    yield client
    client.close()


def policy(**changes):
    return OutboundPolicy(**{"allow_http": True, "allowed_private_hosts": LOOPBACK, **changes})


def failed(client, url, method="GET"):
    started = time.monotonic()
    with pytest.raises(OutboundFailed) as caught:
        client.request(method, url)
    assert "\n" not in str(caught.value)
    return caught.value, time.monotonic() - started


def test_it_works(client, server, url):
    answer = client.request("POST", url + "/x?a=%20b", headers={"Content-Type": "application/xml"}, body=b"<a/>")
    assert (answer.status, answer.body, answer.truncated) == (200, b">/a<", False)
    assert answer.headers["content-length"] == "4"
    assert answer.duration_ms >= 0
    path, headers, _ = server.seen[0]
    assert path == "/x?a=%20b"
    assert headers["Content-Type"] == "application/xml"
    assert headers["User-Agent"].startswith("lti-platform")
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Content-Length"] == "4"


def test_the_url_is_called_as_it_was_given_and_signed(client, server, url):
    for path in ("/%7Ea/course-v1:X+Y@b?x=%7E1&y=a+b", "/a;p?q"):
        client.request("GET", url + path + "#fragment")
    assert [seen[0] for seen in server.seen] == ["/%7Ea/course-v1:X+Y@b?x=%7E1&y=a+b", "/a;p?q"]


def test_callers_headers_win(client, server, url):
    client.request("GET", url, headers={"User-Agent": "mine", "Accept": "application/vnd.x+json"})
    headers = server.seen[0][1]
    assert (headers["User-Agent"], headers["Accept"]) == ("mine", "application/vnd.x+json")


def test_connections_are_kept(client, server, url):
    for _ in range(5):
        client.request("GET", url + "/exact")
    assert len({address for _, _, address in server.seen}) == 1


def test_twenty_threads(client, server, url):
    with ThreadPoolExecutor(20) as pool:
        bodies = list(pool.map(lambda n: client.request("GET", f"{url}/{n}").body, range(200)))
    assert bodies == [f"/{n}".encode() for n in range(200)]
    assert len({address for _, _, address in server.seen}) <= 40


def test_redirects_are_answers_and_cookies_are_forgotten(client, server, url):
    answer = client.request("GET", url + "/redirect")
    assert answer.status == 302
    assert answer.headers["Location"] == "/target"
    client.request("GET", url + "/next")
    assert [path for path, _, _ in server.seen] == ["/redirect", "/next"]
    assert "Cookie" not in server.seen[1][1]


def test_proxies_and_netrc_are_ignored(server, url, monkeypatch, tmp_path):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert OutboundClient(policy()).request("GET", url).status == 200
    assert "Authorization" not in server.seen[0][1]


def test_large_answers_are_cut(server, url):
    answer = OutboundClient(policy(max_response_bytes=1000)).request("GET", url + "/large")
    assert (len(answer.body), answer.truncated) == (1000, True)
    answer = OutboundClient(policy(max_response_bytes=1000)).request("GET", url + "/exact")
    assert (len(answer.body), answer.truncated) == (1000, False)
    answer = OutboundClient(policy(max_response_bytes=999)).request("GET", url + "/exact")
    assert (len(answer.body), answer.truncated) == (999, True)


def test_a_cut_connection_is_not_used_again(url):
    client = OutboundClient(policy(max_response_bytes=1000))
    assert client.request("GET", url + "/large").truncated
    assert client.request("GET", url + "/after").body == b"/after"


def test_compressed_bombs_are_cut(client, url):
    answer = client.request("GET", url + "/bomb")
    assert (len(answer.body), answer.truncated) == (256 * 1024, True)


@pytest.mark.parametrize("path", ["/hang", "/trickle-headers", "/trickle-body"])
def test_slow_servers_do_not_hold_us(url, path):
    error, seconds = failed(OutboundClient(policy(read_timeout=0.4, total_timeout=0.6)), url + path)
    assert error.kind == "timeout"
    assert seconds < 10  # the server goes on for most of a minute


def test_a_slow_request_leaves_the_next_one_its_time(url):
    client = OutboundClient(policy(total_timeout=0.5))
    assert client.request("GET", url + "/a").status == 200
    failed(client, url + "/trickle-body")
    assert client.request("GET", url + "/b").status == 200


@pytest.mark.parametrize(("path", "kind"), [("/short", "protocol"), ("/garbage", "connection")])
def test_broken_answers(client, url, path, kind):
    assert failed(client, url + path)[0].kind == kind


def test_nobody_listens(client):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert failed(client, f"http://127.0.0.1:{taken.getsockname()[1]}/")[0].kind == "connection"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


class TestTls:
    @pytest.fixture
    def port(self, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server = serve(context)
        yield server.server_port
        server.stopped.set()
        server.shutdown()
        server.server_close()

    def test_trusted(self, port, certificate):
        client = OutboundClient(policy(allow_http=False, ca_bundle=str(certificate[0])))
        assert client.request("GET", f"https://localhost:{port}/x").body == b"/x"
        assert client.request("GET", f"https://localhost:{port}/y").body == b"/y"

    def test_not_trusted(self, port):
        assert failed(OutboundClient(policy()), f"https://localhost:{port}/")[0].kind == "tls"

    def test_another_name(self, port, certificate):
        client = OutboundClient(policy(ca_bundle=str(certificate[0])))
        assert failed(client, f"https://127.0.0.1:{port}/")[0].kind == "tls"

    def test_slow(self, port, certificate):
        client = OutboundClient(policy(ca_bundle=str(certificate[0]), total_timeout=0.5))
        error, seconds = failed(client, f"https://localhost:{port}/trickle-headers")
        assert error.kind == "timeout"
        assert seconds < 10  # the server goes on for most of a minute


# ------------------------------------------------------------------------------------------------------ policy


@pytest.mark.parametrize(
    "url",
    [
        "http://lms.example/",
        "ftp://lms.example/",
        "file:///etc/passwd",
        "//lms.example/",
        "",
        "https://user:pw@lms.example/",
        "https://lms.example\\@10.0.0.1/",
        "https://lms.example/\r\nHost: x",
        "https:///x",
    ],
)
def test_refused_urls(url):
    with pytest.raises(OutboundRefused):
        OutboundClient(OutboundPolicy()).request("GET", url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",  # noqa: S104 (called, not bound)
        "localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "[fd00::1]",
        "[fe80::1]",
        "[64:ff9b::a00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_private_addresses_are_refused(server, host):
    with pytest.raises(OutboundRefused):
        OutboundClient(OutboundPolicy(allow_http=True)).request("GET", f"http://{host}:{server.server_port}/")
    assert server.seen == []


@pytest.mark.parametrize("header", ["a\r\nX-Evil: 1", "a\nb"])
def test_header_injection_is_refused(client, server, url, header):
    with pytest.raises(OutboundRefused):
        client.request("GET", url, headers={"X-A": header})
    assert server.seen == []


def resolving(monkeypatch, *answers):
    """Let every name resolve to the next of these lists of addresses."""
    calls = []

    def getaddrinfo(host, port, *args, **kwargs):
        addresses = answers[min(len(calls), len(answers) - 1)]
        calls.append(host)
        if addresses is None:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return calls


class TestNames:
    def request(self, server, **changes):
        changes = {"allow_http": True, "connect_timeout": 0.3, **changes}
        return OutboundClient(OutboundPolicy(**changes)).request("GET", f"http://lms.example:{server.server_port}/n")

    def test_a_name_inside_is_refused(self, server, monkeypatch):
        resolving(monkeypatch, ["127.0.0.1"])
        with pytest.raises(OutboundRefused) as caught:
            self.request(server)
        assert "private" in caught.value.reason

    def test_rebinding_gains_nothing(self, server, monkeypatch):
        calls = resolving(monkeypatch, ["203.0.113.7"], ["127.0.0.1"])
        with pytest.raises((OutboundRefused, OutboundFailed)):
            self.request(server)
        # One look-up only: what was checked is what is connected.
        assert len(calls) == 1
        assert server.seen == []

    def test_of_several_addresses_only_public_ones_are_connected(self, server, monkeypatch):
        connected = []
        monkeypatch.setattr(
            socket.socket,
            "connect",
            lambda _, address: connected.append(address[0]) or (_ for _ in ()).throw(OSError()),
        )
        resolving(monkeypatch, ["127.0.0.1", "8.8.8.8", "10.0.0.1"])
        with pytest.raises(OutboundFailed):
            self.request(server)
        assert connected == ["8.8.8.8"]

    @pytest.mark.parametrize("entry", ["lms.example", "LMS.example.", "127.0.0.0/8", "127.0.0.1"])
    def test_allowed_inside(self, server, monkeypatch, entry):
        resolving(monkeypatch, ["127.0.0.1"])
        assert self.request(server, allowed_private_hosts=(entry,)).body == b"/n"

    @pytest.mark.parametrize("entry", ["other.example", "10.0.0.0/8", "", "example"])
    def test_not_allowed_inside(self, server, monkeypatch, entry):
        resolving(monkeypatch, ["127.0.0.1"])
        with pytest.raises(OutboundRefused):
            self.request(server, allowed_private_hosts=(entry,))

    def test_unknown_name(self, server, monkeypatch):
        resolving(monkeypatch, None)
        with pytest.raises(OutboundFailed) as caught:
            self.request(server)
        assert caught.value.kind == "dns"

    def test_slow_look_up(self, server, monkeypatch):
        found = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found.wait(60) and [])
        started = time.monotonic()
        with pytest.raises(OutboundFailed) as caught:
            self.request(server)
        assert caught.value.kind == "dns"
        assert time.monotonic() - started < 10
        found.set()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("::ffff:169.254.169.254", False),
        ("100.64.0.1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::808:808", False),
        ("2002:808:808::", False),
        ("2001:0:1::", False),
        ("192.88.99.1", False),
        ("198.18.0.1", False),
        ("240.0.0.1", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public_address(address) is public
    assert AddressGuard(OutboundPolicy()).allows("h", address) is public


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_opens_connections_of_its_own(client, server, url):
    client.request("GET", url + "/parent")
    kept = client._session
    client._process = -1
    client.request("GET", url + "/child")
    assert client._session is not kept
    assert len({address for _, _, address in server.seen}) == 2
