// A shop's queue with BullMQ: bullmq_queue.mjs HOST PORT TENANT PASSWORD.
//
// Each tenant's is called "orders", and its jobs bear the same ids. Three workers; jobs that are plain, late, of priorities,
// repeated, failing and trying again, failing for good, children of others. Each is done once, none is another tenant's.
// Says "ready" when all are connected, and "half" after the first half of the jobs: then it waits until it is told to go on.

import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";
import { createInterface } from "node:readline";

const [host, port, tenant, password] = process.argv.slice(2);
const connection = { host, port: Number(port), username: tenant, password, maxRetriesPerRequest: null };
const PATIENCE_MS = 45_000;
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const done = new Map(); // job id → how often a worker did it to the end
const tries = new Map();
const events = new Map(); // job id → how often QueueEvents told of its end
const logged = [];
let changed = () => {};

function fail(text) {
  console.error(`${tenant}: ${text}`);
  process.exit(1);
}

function expect(what, got, wanted) {
  const [has, wants] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (has !== wants) fail(`${what}: wanted ${wants}, got ${has}`);
}

/** Until `condition` holds, which is looked at whenever an event came. */
function until(what, condition) {
  return new Promise((resolve) => {
    const late = setTimeout(() => fail(`not in time: ${what}; ${logged.slice(-5).join("; ")}`), PATIENCE_MS);
    changed = () => {
      if (!condition()) return;
      clearTimeout(late);
      changed = () => {};
      resolve();
    };
    changed();
  });
}

async function told_to_go_on(word) {
  console.log(word);
  await told.next();
}

function count(map, key) {
  map.set(key, (map.get(key) ?? 0) + 1);
}

async function work(job) {
  if (job.data.tenant !== tenant) fail(`job ${job.id} of ${job.data.tenant}`);
  count(tries, job.id);
  if (job.name === "stubborn" && job.attemptsMade < 2) throw new Error("not yet");
  if (job.name === "hopeless") throw new Error(`never, says ${tenant}`);
  await job.updateProgress(50);
  await job.log(`${tenant} works`);
  if (job.name === "parent") expect("a parent's children", Object.keys(await job.getChildrenValues()).length, 3);
  count(done, job.id);
  return `${tenant}:${job.id}`;
}

const queue = new Queue("orders", { connection });
const flows = new FlowProducer({ connection });
const heard = new QueueEvents("orders", { connection });
const workers = [1, 2, 3].map(() => new Worker("orders", work, { connection, concurrency: 8, autorun: false, drainDelay: 1 }));
for (const one of [queue, flows, heard, ...workers]) {
  one.on("error", (error) => logged.push(String(error)));
}
heard.on("completed", ({ jobId, returnvalue }) => {
  if (!String(returnvalue).startsWith(`${tenant}:`)) fail(`completed: ${jobId} with ${returnvalue}`);
  count(events, jobId);
  changed();
});
heard.on("failed", ({ jobId, failedReason }) => {
  expect("why it failed", failedReason, `never, says ${tenant}`);
  count(events, jobId);
  changed();
});

const data = { tenant };
const ids = (half, kind, jobs) => Array.from({ length: jobs }, (_, at) => `${half}-${kind}-${at}`);

/** Adds a half of all jobs: the ids of those that end well, and of those that do not. */
async function add(half) {
  const well = [];
  const bulk = (kind, jobs, opts) => {
    const added = ids(half, kind, jobs);
    well.push(...added);
    return queue.addBulk(added.map((jobId, at) => ({ name: kind, data, opts: { jobId, ...opts(at) } })));
  };
  await bulk("plain", 60, () => ({}));
  await bulk("late", 15, (at) => ({ delay: 20 + at * 10 }));
  await bulk("urgent", 15, (at) => ({ priority: 1 + (at % 5) }));
  await bulk("stubborn", 10, () => ({ attempts: 3, backoff: { type: "exponential", delay: 5 } }));
  for (const jobId of ids(half, "single", 5)) {
    well.push(jobId);
    await queue.add("single", data, { jobId });
    await queue.add("single", data, { jobId }); // of the same id: not another job
  }
  const child = (jobId) => ({ name: "child", queueName: "orders", data, opts: { jobId } });
  const children = ids(half, "child", 3);
  const parent = `${half}-parent`;
  await flows.add({ name: "parent", queueName: "orders", data, opts: { jobId: parent }, children: children.map(child) });
  well.push(parent, ...children);
  const hopeless = ids(half, "hopeless", 5);
  for (const jobId of hopeless) await queue.add("hopeless", data, { jobId, attempts: 2 });
  return [well, hopeless];
}

async function live(half) {
  const [well, hopeless] = await add(half);
  const times = 5;
  await queue.upsertJobScheduler(`${half}-every`, { every: 30, limit: times }, { name: "tick", data });
  const ticks = () => [...events.keys()].filter((id) => id.startsWith(`repeat:${half}-every:`)).length;
  const all = [...well, ...hopeless];
  await until(`${half}: ${all.length} jobs and ${times} ticks`, () => all.every((id) => events.has(id)) && ticks() >= times);
  for (const id of well) expect(`${id} is done`, [done.get(id), events.get(id)], [1, 1]);
  for (const id of hopeless) expect(`${id} has failed`, [done.get(id) ?? 0, tries.get(id), events.get(id)], [0, 2, 1]);
  for (const id of ids(half, "stubborn", 10)) expect(`${id} was tried`, tries.get(id), 3);
  expect("ticks", ticks(), times);
  return all.length + times;
}

await Promise.all([queue, flows, heard, ...workers].map((one) => one.waitUntilReady()));
await told_to_go_on("ready");
workers.forEach((worker) => void worker.run());
let jobs = await live("first");
await told_to_go_on("half");
jobs += await live("second");

const counts = await queue.getJobCounts();
expect("counts", [counts.completed, counts.failed, counts.waiting, counts.active, counts.delayed], [jobs - 10, 10, 0, 0, 0]);
expect("logs", (await queue.getJobLogs("first-plain-0")).logs, [`${tenant} works`]);
expect("state", await (await queue.getJob("second-hopeless-0")).getState(), "failed");
expect("workers", (await queue.getWorkers()).length, 3);
await Promise.all(workers.map((worker) => worker.close()));
await queue.retryJobs({ count: 100 });
expect("retried", (await queue.getJobCounts("waiting", "failed")), { waiting: 10, failed: 0 });
expect("drained", await queue.drain(), undefined);
expect("cleaned", (await queue.clean(0, 1000, "completed")).length, jobs - 10);
await queue.pause();
await queue.obliterate();
expect("what is left", await queue.getJobCounts("waiting", "completed", "failed", "delayed", "active"), { waiting: 0, completed: 0, failed: 0, delayed: 0, active: 0 });
await Promise.all([queue, flows, heard].map((one) => one.close()));
console.log(tenant, jobs, "jobs");
process.exit(0);
