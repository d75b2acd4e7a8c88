// Prints COUNT envelopes from the log's start, one a line: subscribe.mjs HOST:PORT COUNT, the token in $TOKEN.
const [address, count] = [process.argv[2], Number(process.argv[3])];
const response = await fetch(`http://${address}/api/v1/events?since=0`, {
  headers: { authorization: `Bearer ${process.env.TOKEN}`, accept: "text/event-stream" },
});
if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
let [pending, seen] = ["", 0];
reading: for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  const records = (pending + text).split("\n\n");
  pending = records.pop();
  for (const record of records) {
    const field = (name) => record.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    if (!field("data") || field("event")?.startsWith("stream.")) continue;
    console.log(field("data"));
    if (++seen === count) break reading;
  }
}
if (seen < count) throw new Error(`the stream ended after ${seen}`);
