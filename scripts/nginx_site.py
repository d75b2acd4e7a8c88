"""deploy/nginx/tidings.conf in a real nginx before a real server: ports, paths, the upstream and what a test scales down are all that
is changed of the template."""

import asyncio
import contextlib
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what: str, ask):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, InvalidStatus, ConnectionClosed):
            answer = ask()
            if answer:
                return answer
        time.sleep(0.02)
    raise AssertionError(f"not in time: {what}")


class WebSocket:
    """A connection of the library's asyncio client, for those who wait. Its client for threads has one of them read while another writes, on one
    TLS connection: OpenSSL does not let that be, and where nginx's session tickets come while the request goes out, either side may end it."""

    loop = asyncio.new_event_loop()

    def __init__(self, url: str, **how):
        async def opened():
            return await connect(url, **how)
        self.ws = self.wait(opened())

    @classmethod
    def wait(cls, what):
        return asyncio.run_coroutine_threadsafe(what, cls.loop).result()

    def recv(self, timeout: float) -> str:
        return self.wait(asyncio.wait_for(self.ws.recv(), timeout))

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.wait(self.ws.close())


threading.Thread(target=WebSocket.loop.run_forever, daemon=True).start()


class Site:
    """Both in `work`, until `programs` ends them. `settings` are Tidings' and `pace` replaces nginx's directives by name. Of `two` nodes the
    second has a copy of the first one's folder: it takes the same credentials and has a log of its own. `more` are nginx's lines for all its sites."""

    def __init__(self, binary: str, work: pathlib.Path, programs: contextlib.ExitStack, settings: list[str], pace=None, two=False,
                 more="access_log off;"):
        self.binary, self.work, self.programs = str(pathlib.Path(binary).resolve()), work, programs
        self.settings, self.pace, self.more = settings, pace or {}, more
        self.backend, self.ops, self.plain, self.port = free_port(), free_port(), free_port(), free_port()
        self.tls = ssl.create_default_context()
        self.start_tidings()
        self.nodes = [self.backend]
        if two:
            self.add_second()
        self.token = subprocess.run(
            [self.binary, "token", "--data", "data", "--tenant", "acme", "--scope", "events:read events:publish", "--ttl", "1d"],
            cwd=work, check=True, capture_output=True, text=True).stdout.strip()
        self.start_nginx()

    def run(self, command: list[str], log: str, stop=signal.SIGKILL) -> subprocess.Popen:
        process = subprocess.Popen(command, cwd=self.work, stdin=subprocess.DEVNULL,
                                   stdout=open(self.work / log, "ab"), stderr=subprocess.STDOUT)
        self.programs.callback(process.wait)
        self.programs.callback(process.send_signal, stop)
        return process

    def start_tidings(self, data="data") -> None:
        command = [self.binary, "serve", "--data", data, "--listen", f"127.0.0.1:{self.backend}", "--ops-listen", f"127.0.0.1:{self.ops}"]
        self.tidings = self.run(command + [word for each in self.settings for word in ("--set", each)], "tidings.log")
        eventually("Tidings is ready", self.is_ready)

    def add_second(self) -> None:
        self.tidings.send_signal(signal.SIGTERM)
        self.tidings.wait(PATIENCE)
        shutil.copytree(self.work / "data", self.work / "data-2")
        first = self.backend, self.ops
        self.backend, self.ops = free_port(), free_port()
        self.start_tidings("data-2")
        self.nodes.append(self.backend)
        self.backend, self.ops = first
        self.start_tidings()

    def is_ready(self) -> bool:
        return self.readiness() == 200

    def readiness(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.backend, timeout=PATIENCE)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status

    def start_nginx(self) -> None:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
             "-subj", "/CN=tidings.example.com", "-addext", "subjectAltName=DNS:tidings.example.com",
             "-keyout", "tidings.key", "-out", "tidings.crt"], cwd=self.work, check=True, capture_output=True)
        self.tls.load_verify_locations(self.work / "tidings.crt")
        site = (ROOT / "deploy/nginx/tidings.conf").read_text()
        for pattern, text in [
            (r"(?m)^ *listen \[::\].*\n", ""),
            (r"listen 80;", f"listen 127.0.0.1:{self.plain};"),
            (r"listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"),
            (r"server 127\.0\.0\.1:3000( .*)", "".join(f"server 127.0.0.1:{port}\\1\n    " for port in self.nodes)),
            (r"/etc/nginx/tls", str(self.work)),
            *((rf"\b{name}( +)[0-9a-z]+;", rf"{name}\g<1>{value};") for name, value in self.pace.items()),
        ]:
            site, count = re.subn(pattern, text, site)
            assert count, f"the template has no {pattern}"
        (self.work / "site.conf").write_text(site)
        paths = "".join(f"{name}_temp_path {self.work}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.work / "nginx.conf").write_text(
            f"user root; daemon off; pid {self.work}/pid; error_log stderr;\nevents {{ worker_connections 4096; }}\n"
            f"http {{ {self.more} {paths} include {self.work}/site.conf; }}\n")
        # Killed, it would leave its workers behind.
        self.run(["nginx", "-c", str(self.work / "nginx.conf")], "nginx.log", signal.SIGTERM)
        eventually("nginx listens", lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() or True)

    def wire(self, source: str) -> socket.socket:
        """A TLS connection from an address of its own."""
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE, source_address=(source, 0))
        return self.tls.wrap_socket(plain, server_hostname="tidings.example.com")

    def ask(self, method: str, path: str, body=None, source="127.0.0.10", headers=()) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection("tidings.example.com", timeout=PATIENCE)
        connection.sock = self.wire(source)
        connection.request(method, path, body, {"Authorization": f"Bearer {self.token}", **dict(headers)})
        return connection.getresponse()

    def publish(self, data) -> None:
        reply = self.ask("POST", "/api/v1/events", json.dumps({"type": "note.created", "data": data}),
                         headers={"Content-Type": "application/json"})
        assert reply.status in (200, 201), (reply.status, reply.read())

    def websocket(self, source: str, query="", headers=()):
        headers = {"Authorization": f"Bearer {self.token}", **dict(headers)}
        wire = plain(self, source)
        wire.setblocking(False)
        return WebSocket(f"wss://tidings.example.com/api/v1/ws{query}", sock=wire, ssl=self.tls, server_hostname="tidings.example.com",
                         additional_headers=headers, subprotocols=["tidings.v1"], open_timeout=PATIENCE, max_size=None)


def plain(site: Site, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), PATIENCE, source_address=(source, 0))
