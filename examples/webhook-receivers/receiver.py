#!/usr/bin/env python3
"""Receives webhooks: verifies them, keeps each event once, and catches up with what it missed.

    pip install standardwebhooks
    WEBHOOK_SECRET=whsec_… python3 receiver.py 8080 ./received

With TIDINGS_URL and TIDINGS_TOKEN it reads at its start what it missed while it was away.
"""

import http.server
import json
import os
import pathlib
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

BODY_MAX = 1024 * 1024


class Store:
    """Every event once, in a file that is synced before anything is acknowledged."""

    def __init__(self, folder: pathlib.Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.cursor = folder / "cursor"
        self.lock = threading.Lock()
        self.seen = set()
        self.latest = {}
        path = folder / "events.jsonl"
        if path.exists():
            for line in path.read_text().splitlines():
                self.note(json.loads(line))
        self.file = path.open("a")

    def take(self, event: dict) -> None:
        with self.lock:
            if event["seq"] in self.seen:
                return
            self.file.write(json.dumps(event) + "\n")
            self.file.flush()
            os.fsync(self.file.fileno())
            if self.note(event):
                print("applied", event["seq"], event["type"], flush=True)

    def note(self, event: dict) -> bool:
        """Whether it is news of its thing: an event that a later one has overtaken changes nothing any more."""
        self.seen.add(event["seq"])
        thing = event.get("job_id") or event.get("subject")
        news = thing is None or event["seq"] > self.latest.get(thing, 0)
        if news and thing is not None:
            self.latest[thing] = event["seq"]
        return news


def catch_up(store: Store, url: str, token: str) -> None:
    """Reads the log from where the last reading ended. What had come as a webhook is seen already."""
    cursor = store.cursor.read_text() if store.cursor.exists() else "0"
    while True:
        query = urllib.parse.urlencode({"since": cursor, "limit": 1000})
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/events?{query}", headers=headers)) as answer:
                page = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 410 or cursor == "0":
                raise
            cursor = "0"  # What lay behind it is no longer kept: on with the oldest.
            continue
        for event in page["events"]:
            store.take(event)
        if page["next"] == cursor:
            return
        cursor = page["next"]
        store.cursor.write_text(cursor)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > BODY_MAX:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(length)
        try:
            event = self.server.webhook.verify(body, dict(self.headers.items()))
        except WebhookVerificationError:
            return self.answer(401)
        self.server.store.take(event)
        self.answer(204)

    def answer(self, status: int):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main() -> None:
    port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.webhook, server.store = Webhook(os.environ["WEBHOOK_SECRET"]), Store(folder)
    if "TIDINGS_URL" in os.environ:
        catch_up(server.store, os.environ["TIDINGS_URL"], os.environ["TIDINGS_TOKEN"])
    print("listening on", server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
