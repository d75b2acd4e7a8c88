// Job cycles through graphile-worker: this process works, and a second one, which it forks, enqueues.
//
//     node cycles.cjs URL SECONDS ENQUEUED_AT_A_TIME LOCAL_QUEUE
//
// Writes `measuring` when the measured time begins, and when it has ended how many jobs ran in it.
const { fork } = require("node:child_process");
const { Logger, makeWorkerUtils, run, runMigrations } = require("graphile-worker");

const [url, seconds, batch, localQueue] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const WARM_UP_MS = 1_000;
// As many jobs wait or run at most, as many calls enqueue at once, as in the load of the server that is compared.
const OPEN_MAX = Math.max(512, 2 * localQueue, 4 * batch);
const CALLS = batch > 1 ? 2 : 32;
const PAYLOAD = { document: "0192f0c4-0000-7000-8000-000000000000", page: 7 };
const quiet = new Logger(() => () => {});

async function enqueue() {
  const utils = await makeWorkerUtils({ connectionString: url, maxPoolSize: 20, logger: quiet });
  const jobs = Array.from({ length: batch }, () => ({ identifier: "bench", payload: PAYLOAD }));
  let [sent, done, stopping, wake] = [0, 0, false, []];
  process.on("message", (message) => {
    if (message === "stop") stopping = true;
    else done = message;
    wake.splice(0).forEach((go) => go());
  });
  const caller = async () => {
    while (!stopping) {
      if (sent - done >= OPEN_MAX) {
        await new Promise((go) => wake.push(go));
        continue;
      }
      sent += batch;
      await (batch > 1 ? utils.addJobs(jobs) : utils.addJob("bench", PAYLOAD));
    }
  };
  await Promise.all(Array.from({ length: CALLS }, caller));
  process.send(sent);
  await utils.release();
  process.disconnect();
}

async function work() {
  await runMigrations({ connectionString: url, logger: quiet });
  let [ran, wanted] = [0, Infinity];
  const best = { localQueue: { size: localQueue }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  const runner = await run({
    connectionString: url,
    taskList: { bench: async () => void ran++ },
    noHandleSignals: true,
    logger: quiet,
    preset: { worker: { concurrentJobs: 24, maxPoolSize: 20, ...(localQueue ? best : {}) } },
  });
  const enqueuer = fork(__filename, [...process.argv.slice(2), "enqueue"]);
  enqueuer.on("message", (sent) => (wanted = sent));
  // It may have ended already.
  const tell = (message) => enqueuer.connected && enqueuer.send(message, () => {});
  const told = setInterval(() => tell(ran), 5);
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  while (ran === 0) await sleep(20);
  await sleep(WARM_UP_MS);
  const before = ran;
  console.log("measuring");
  await sleep(seconds * 1_000);
  console.log(ran - before);
  tell("stop");
  const deadline = Date.now() + 10_000;
  while (ran < wanted && Date.now() < deadline) await sleep(20);
  clearInterval(told);
  await runner.stop();
  if (ran !== wanted) throw new Error(`${wanted} jobs were enqueued and ${ran} ran`);
}

(process.argv[6] === "enqueue" ? enqueue() : work()).catch((error) => {
  console.error(error);
  process.exit(1);
});
