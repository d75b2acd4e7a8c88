// Receives Tidings' webhooks: verifies them, handles each event once and in order, and reads what is missing from the log.
//
// WEBHOOK_SECRETS   what to verify with: whsec_… or whpk_…, several during a rotation, parted by spaces
// TIDINGS_URL, TIDINGS_TOKEN   where the log is read, and a credential that may read what the endpoint is sent
// FILTER            the endpoint's filter as query parameters, such as types=order.*
// STATE             the file of what was handled (handled.jsonl)
// PORT              8080; 0: any free one, which is printed
//
// Needs the package standardwebhooks: npm install standardwebhooks
import { createPublicKey, verify as verifySignature } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

// PACKAGES: a folder whose node_modules has it, where it is not beside this file.
const from = process.env.PACKAGES ? `${process.env.PACKAGES}/package.json` : import.meta.url;
const { Webhook, WebhookVerificationError } = createRequire(from)("standardwebhooks");

const BODY_MAX = 1 << 20;
const TOLERANCE_S = 300;
const IDS_MAX = 10_000;

// Accepts what any of the secrets accepts, so that they can be replaced one after the other.
function verifier(secrets) {
  const checks = secrets.map((secret) => {
    if (secret.startsWith("whpk_")) return v1a(secret);
    const webhook = new Webhook(secret);
    return (body, headers) => {
      try {
        webhook.verify(body, headers, { jsonParse: false });
        return true;
      } catch (error) {
        if (error instanceof WebhookVerificationError) return false;
        throw error;
      }
    };
  });
  return (body, headers) => checks.some((check) => check(body, headers));
}

function v1a(secret) {
  const x = Buffer.from(secret.slice("whpk_".length), "base64").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return (body, headers) => {
    const sent = headers["webhook-timestamp"] ?? "";
    if (!/^\d+$/.test(sent) || Math.abs(Date.now() / 1000 - Number(sent)) > TOLERANCE_S) return false;
    const signed = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${sent}.`), body]);
    const signatures = (headers["webhook-signature"] ?? "").split(" ").filter((one) => one.startsWith("v1a,"));
    return signatures.some((one) => verifySignature(null, signed, key, Buffer.from(one.slice(4), "base64")));
  };
}

// Handles each event once, in the order of seq. `seq` is how far the log has been handled. What comes next is handled at
// once; where something lies between, it is read from the log first. What was answered with 2xx and not handled is so never
// lost: the log has it.
class Inbox {
  #ids = new Set();
  #epoch = "";
  #seq = 0;
  #reading = false;
  #behind = false;

  constructor(path, log) {
    this.log = log;
    const before = existsSync(path) ? readFileSync(path, "utf8") : "";
    for (const line of before.split("\n")) {
      try {
        this.#note(JSON.parse(line));
      } catch {
        continue; // empty, or cut off by a crash: what it stood for is done again
      }
    }
    this.file = openSync(path, "a");
    if (before) writeSync(this.file, "\n"); // so that nothing is appended to such a line
    this.catchUp(); // it was away: what came meanwhile is in the log
  }

  // An event that was delivered. Returns when it is safe to answer 2xx.
  take(event) {
    if (this.#ids.has(event.id)) return;
    if (event.seq === this.#seq + 1) this.#handle(event, this.#epoch);
    else this.catchUp();
  }

  async catchUp() {
    this.#behind = true;
    if (this.#reading) return;
    this.#reading = true;
    while (this.#behind) {
      this.#behind = false;
      try {
        while (await this.#page());
      } catch (error) {
        console.error(`the log was not read: ${error.message}`);
        this.#behind = true;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
    this.#reading = false;
  }

  // Handles one page of the log; whether there is more.
  async #page() {
    const page = await this.log(this.#epoch ? `${this.#epoch}:${this.#seq}` : `${this.#seq}`);
    if (!page.events) {
      console.error(`events before ${page.oldest} are lost: ${page.detail}`);
      this.#write({ cursor: `${page.oldest - 1}` });
      return true;
    }
    const [seq, epoch = ""] = page.next.split(":").reverse();
    for (const event of page.events) {
      if (!this.#ids.has(event.id) && event.seq > this.#seq) this.#handle(event, epoch);
    }
    if (Number(seq) > this.#seq || epoch !== this.#epoch) this.#write({ cursor: page.next });
    return Number(seq) < page.head;
  }

  // What the event is for. Here it is a line in a file: the effect and the record of it are one write. With a database they
  // belong in one transaction.
  #handle(event, epoch) {
    console.log(`handled ${event.seq} ${event.type}`);
    this.#write({ cursor: epoch ? `${epoch}:${event.seq}` : `${event.seq}`, event });
  }

  #write(entry) {
    writeSync(this.file, `${JSON.stringify(entry)}\n`);
    fsyncSync(this.file);
    this.#note(entry);
  }

  #note({ cursor, event }) {
    const [seq, epoch = ""] = cursor.split(":").reverse();
    this.#epoch = epoch;
    this.#seq = Number(seq);
    if (!event) return;
    this.#ids.add(event.id);
    if (this.#ids.size > IDS_MAX) this.#ids.delete(this.#ids.values().next().value);
  }

  close() {
    closeSync(this.file);
  }
}

function log(url, token, filter) {
  return async (cursor) => {
    const query = new URLSearchParams({ since: cursor, limit: 500 });
    const headers = { Authorization: `Bearer ${token}`, Accept: "application/json" };
    const target = `${url}/api/v1/events?${query}${filter ? `&${filter}` : ""}`;
    const answer = await fetch(target, { headers, signal: AbortSignal.timeout(30_000) });
    // 410: the cursor is of another history, or too old.
    if (!answer.ok && answer.status !== 410) throw new Error(`status ${answer.status}`);
    return answer.json();
  };
}

const { WEBHOOK_SECRETS = "", TIDINGS_URL, TIDINGS_TOKEN, FILTER = "", STATE = "handled.jsonl", PORT = "8080" } = process.env;
const secrets = WEBHOOK_SECRETS.split(" ").filter(Boolean);
if (!secrets.length || !TIDINGS_URL || !TIDINGS_TOKEN) {
  console.error("set WEBHOOK_SECRETS, TIDINGS_URL and TIDINGS_TOKEN");
  process.exit(2);
}
const accepts = verifier(secrets);
const inbox = new Inbox(STATE, log(TIDINGS_URL, TIDINGS_TOKEN, FILTER));

const server = createServer(async (request, response) => {
  const answer = (status) => response.writeHead(status).end();
  try {
    if (request.method !== "POST") return answer(405);
    // The very bytes: JSON that is read and written again is not what was signed.
    const parts = [];
    let size = 0;
    for await (const part of request) {
      size += part.length;
      if (size > BODY_MAX) return answer(413);
      parts.push(part);
    }
    const body = Buffer.concat(parts);
    if (!accepts(body, request.headers)) return answer(401);
    const event = JSON.parse(body);
    if (event.seq > 0) inbox.take(event); // `tidings webhooks test` sends a sample that is in no log
    answer(204);
  } catch (error) {
    console.error(error.message);
    if (!response.headersSent) answer(500);
  }
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => { inbox.close(); process.exit(0); });
