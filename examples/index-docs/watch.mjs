// Follows the events in JavaScript, over Server-Sent Events, with nothing but fetch:
//   TIDINGS_TOKEN=… node watch.mjs [url]
// It goes on where it stopped whenever the connection ends: the last `id:` is the cursor.

const url = process.argv[2] ?? process.env.TIDINGS_URL ?? "http://127.0.0.1:3000";
const token = process.env.TIDINGS_TOKEN;
if (!token) {
  console.error("set TIDINGS_TOKEN, for example to the output of: tidings token --tenant default --scope 'jobs:read:all events:read'");
  process.exit(2);
}

let cursor; // the last `id:` that came
let failures = 0;

while (failures < 10) {
  try {
    await follow();
    failures = 0;
  } catch (error) {
    failures += 1;
    console.error(`disconnected: ${error.message}`);
  }
  const ceiling = Math.min(30, 2 ** failures) * 1000;
  await new Promise((resolve) => setTimeout(resolve, Math.random() * ceiling));
}
process.exit(1);

async function follow() {
  const headers = { Accept: "text/event-stream", Authorization: `Bearer ${token}` };
  if (cursor) headers["Last-Event-ID"] = cursor;
  const response = await fetch(`${url}/api/v1/events`, { headers });
  if (!response.ok) throw new Error((await response.json()).detail);

  let text = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const records = text.split("\n\n");
    text = records.pop();
    for (const record of records) take(record);
  }
}

function take(record) {
  const field = (name) => record.match(new RegExp(`^${name}: ?(.*)$`, "m"))?.[1];
  const id = field("id");
  if (id) cursor = id;
  const data = field("data");
  if (!data) return;
  const message = JSON.parse(data);
  if (message.seq) {
    console.log(message.seq, message.type, message.job_type ?? "", JSON.stringify(message.data));
    failures = 0;
  } else if (message.type !== "stream.heartbeat") {
    console.error(message.type, data);
  }
}
