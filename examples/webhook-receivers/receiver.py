#!/usr/bin/env python3
"""Receives Tidings' webhooks: verifies them, handles each event once and in order, and reads what is missing from the log.

WEBHOOK_SECRETS   what to verify with: whsec_… or whpk_…, several during a rotation, parted by spaces
TIDINGS_URL, TIDINGS_TOKEN   where the log is read, and a credential that may read what the endpoint is sent
FILTER            the endpoint's filter as query parameters, such as types=order.*
STATE             the file of what was handled (handled.jsonl)
PORT              8080; 0: any free one, which is printed

Needs the package standardwebhooks, and cryptography for whpk_….
"""

import base64
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

BODY_MAX = 1 << 20
TOLERANCE_S = 300
IDS_MAX = 10_000


class Verifier:
    """Accepts what any of the secrets accepts, so that they can be replaced one after the other."""

    def __init__(self, secrets: list[str]):
        self.checks = [_v1a(s) if s.startswith("whpk_") else Webhook(s).verify for s in secrets]

    def verify(self, body: bytes, headers: dict[str, str]) -> None:
        for check in self.checks:
            try:
                return check(body, headers)
            # The library raises others for headers that are no base64, or whose bytes are no text.
            except (WebhookVerificationError, ValueError):
                continue
        raise WebhookVerificationError("no secret fits")


def _v1a(secret: str):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(secret.removeprefix("whpk_")))

    def check(body: bytes, headers: dict[str, str]) -> None:
        sent = headers.get("webhook-timestamp", "")
        if not sent.isdecimal() or abs(time.time() - int(sent)) > TOLERANCE_S:
            raise WebhookVerificationError("too old, too new, or without a time")
        signed = f"{headers.get('webhook-id', '')}.{sent}.".encode() + body
        for one in headers.get("webhook-signature", "").split():
            if one.startswith("v1a,"):
                try:
                    return key.verify(base64.b64decode(one[4:]), signed)
                except InvalidSignature:
                    continue
        raise WebhookVerificationError("no signature fits")

    return check


class Inbox:
    """Handles each event once, in the order of seq.

    `cursor` is how far the log has been handled. What comes next is handled at once; where something lies between, it is
    read from the log first. What was answered with 2xx and not handled is so never lost: the log has it.
    """

    def __init__(self, path: str, log: "Log"):
        self.log = log
        self.lock = threading.Lock()
        self.behind = threading.Event()
        self.ids: dict[str, None] = {}
        self.epoch, self.seq = "", 0
        if os.path.exists(path):
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    try:
                        self._note(json.loads(line))
                    except ValueError:
                        continue  # cut off by a crash: what it stood for is done again
        self.file = open(path, "a", encoding="utf-8")
        if self.file.tell() > 0:
            self.file.write("\n")  # so that nothing is appended to such a line
        self.behind.set()  # it was away: what came meanwhile is in the log

    def take(self, event: dict) -> None:
        """An event that was delivered. Returns when it is safe to answer 2xx."""
        with self.lock:
            if event["id"] in self.ids:
                return
            if event["seq"] == self.seq + 1:
                self._handle(event, self.epoch)
            else:
                self.behind.set()

    def catch_up(self) -> None:
        while self.behind.wait():
            self.behind.clear()
            try:
                while self._page():
                    pass
            except (OSError, HTTPException, ValueError) as error:
                print(f"the log was not read: {error}", file=sys.stderr, flush=True)
                time.sleep(1)
                self.behind.set()

    def _page(self) -> bool:
        """Handles one page of the log; whether there is more."""
        page = self.log.after(f"{self.epoch}:{self.seq}" if self.epoch else str(self.seq))
        if "oldest" in page and "events" not in page:
            print(f"events before {page['oldest']} are lost: {page['detail']}", file=sys.stderr, flush=True)
            with self.lock:
                self._write({"cursor": str(page["oldest"] - 1)})
            return True
        epoch, _, seq = page["next"].rpartition(":")
        with self.lock:
            for event in page["events"]:
                if event["id"] not in self.ids and event["seq"] > self.seq:
                    self._handle(event, epoch)
            if int(seq) > self.seq or epoch != self.epoch:
                self._write({"cursor": page["next"]})
        return int(seq) < page["head"]

    def _handle(self, event: dict, epoch: str) -> None:
        """What the event is for. Here it is a line in a file: the effect and the record of it are one write. With a
        database they belong in one transaction."""
        print(f"handled {event['seq']} {event['type']}", flush=True)
        self._write({"cursor": f"{epoch}:{event['seq']}" if epoch else str(event["seq"]), "event": event})

    def _write(self, entry: dict) -> None:
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self._note(entry)

    def _note(self, entry: dict) -> None:
        self.epoch, _, seq = entry["cursor"].rpartition(":")
        self.seq = int(seq)
        if "event" in entry:
            self.ids[entry["event"]["id"]] = None
            if len(self.ids) > IDS_MAX:
                del self.ids[next(iter(self.ids))]


class Log:
    def __init__(self, url: str, token: str, selection: str):
        self.url, self.token, self.selection = url, token, selection

    def after(self, cursor: str) -> dict:
        query = urllib.parse.urlencode({"since": cursor, "limit": 500})
        url = f"{self.url}/api/v1/events?{query}" + (f"&{self.selection}" if self.selection else "")
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 410:  # the cursor is of another history, or too old
                return json.load(error)
            raise


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    verifier: Verifier
    inbox: Inbox

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > BODY_MAX:
            self.close_connection = True
            return self._answer(413 if length.isdecimal() else 411)
        # The very bytes: JSON that is read and written again is not what was signed.
        body = self.rfile.read(int(length))
        try:
            self.verifier.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            return self._answer(401)
        event = json.loads(body)
        if event["seq"] > 0:  # `tidings webhooks test` sends a sample that is in no log
            self.inbox.take(event)
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


def main() -> None:
    secrets = os.environ.get("WEBHOOK_SECRETS", "").split()
    url, token = os.environ.get("TIDINGS_URL"), os.environ.get("TIDINGS_TOKEN")
    if not (secrets and url and token):
        sys.exit(__doc__)
    inbox = Inbox(os.environ.get("STATE", "handled.jsonl"), Log(url, token, os.environ.get("FILTER", "")))
    Receiver.verifier, Receiver.inbox = Verifier(secrets), inbox
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Receiver)
    threading.Thread(target=inbox.catch_up, daemon=True).start()
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
