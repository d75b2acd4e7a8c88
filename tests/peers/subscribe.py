"""Prints COUNT envelopes from the log's start, one a line: subscribe.py CLIENT HOST:PORT COUNT, the token in $TOKEN."""

import os
import sys

CLIENT, ADDRESS, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
URL = f"http://{ADDRESS}/api/v1/events?since=0"


def over_websockets():
    from websockets.sync.client import connect

    url = f"ws://{ADDRESS}/api/v1/ws?since=0"
    with connect(url, additional_headers=HEADERS, subprotocols=["tidings.v1"]) as ws:
        assert ws.subprotocol == "tidings.v1"
        for message in ws:
            if message.startswith('{"seq":'):
                yield message


def over_httpx_sse():
    import httpx
    from httpx_sse import connect_sse

    with httpx.Client(timeout=60) as client, connect_sse(client, "GET", URL, headers=HEADERS) as source:
        for record in source.iter_sse():
            if not record.event.startswith("stream."):
                assert record.id.split(":")[1] == record.data[len('{"seq":') :].split(",")[0]
                yield record.data


def over_sseclient():
    import requests
    from sseclient import SSEClient

    headers = HEADERS | {"Accept": "text/event-stream"}
    with requests.get(URL, headers=headers, stream=True, timeout=60) as response:
        for record in SSEClient(response).events():
            if not record.event.startswith("stream."):
                yield record.data


READERS = {"websockets": over_websockets, "httpx-sse": over_httpx_sse, "sseclient": over_sseclient}

for n, envelope in enumerate(READERS[CLIENT](), start=1):
    print(envelope, flush=True)
    if n == COUNT:
        break
