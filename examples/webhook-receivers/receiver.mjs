// Receives webhooks: verifies them, keeps each event once, and catches up with what it missed.
//
//     npm install standardwebhooks
//     WEBHOOK_SECRET=whsec_… node receiver.mjs 8080 ./received
//
// With TIDINGS_URL and TIDINGS_TOKEN it reads at its start what it missed while it was away.
import { createServer } from "node:http";
import { existsSync, fsyncSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const BODY_MAX = 1024 * 1024;
const [port, folder] = [Number(process.argv[2]), process.argv[3]];
const { WEBHOOK_SECRET, TIDINGS_URL, TIDINGS_TOKEN } = process.env;
const webhook = new Webhook(WEBHOOK_SECRET);

// Every event once, in a file that is synced before anything is acknowledged.
mkdirSync(folder, { recursive: true });
const [path, cursorPath] = [join(folder, "events.jsonl"), join(folder, "cursor")];
const seen = new Set();
const latest = new Map();
if (existsSync(path)) for (const line of readFileSync(path, "utf8").split("\n")) if (line) note(JSON.parse(line));
const file = openSync(path, "a");

function take(event) {
  if (seen.has(event.seq)) return;
  writeSync(file, `${JSON.stringify(event)}\n`);
  fsyncSync(file);
  if (note(event)) console.log("applied", event.seq, event.type);
}

// Whether it is news of its thing: an event that a later one has overtaken changes nothing any more.
function note(event) {
  seen.add(event.seq);
  const thing = event.job_id ?? event.subject;
  const news = thing === undefined || event.seq > (latest.get(thing) ?? 0);
  if (news && thing !== undefined) latest.set(thing, event.seq);
  return news;
}

// Reads the log from where the last reading ended. What had come as a webhook is seen already.
async function catchUp() {
  let cursor = existsSync(cursorPath) ? readFileSync(cursorPath, "utf8") : "0";
  for (;;) {
    const answer = await fetch(`${TIDINGS_URL}/api/v1/events?since=${encodeURIComponent(cursor)}&limit=1000`, {
      headers: { authorization: `Bearer ${TIDINGS_TOKEN}`, accept: "application/json" },
    });
    if (answer.status === 410 && cursor !== "0") {
      cursor = "0"; // What lay behind it is no longer kept: on with the oldest.
      continue;
    }
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    const page = await answer.json();
    page.events.forEach(take);
    if (page.next === cursor) return;
    cursor = page.next;
    writeFileSync(cursorPath, cursor);
  }
}

async function body(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > BODY_MAX) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

async function receive(request) {
  if (request.method !== "POST") return 405;
  const text = await body(request);
  if (text === undefined) return 413;
  try {
    take(webhook.verify(text, request.headers));
    return 204;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return 401;
    throw error;
  }
}

if (TIDINGS_URL) await catchUp();
const server = createServer((request, response) => {
  receive(request).then(
    (status) => response.writeHead(status).end(),
    (error) => (console.error(error), response.writeHead(500).end()),
  );
});
server.listen(port, "127.0.0.1", () => console.log("listening on", server.address().port));
