// A crowd of node-redis clients, connected all at once: crowd_node_redis.mjs HOST PORT COUNT. Says "ready" when each has
// written and read while all are connected, and goes on when it is told a line.

import { once } from "node:events";
import { createClient } from "redis";
import { expect, run } from "./life_cycle.mjs";

// As tests/clients.rs counts them: user, database and protocol.
const KINDS = [
  { RESP: 2 },
  { RESP: 3, name: "crowd" },
  { RESP: 3, username: "app", password: "secret" },
  { RESP: 2, username: "app", password: "secret" },
  { RESP: 2, database: 1 },
];
// So many connect at once.
const STEP = 50;

async function writeAndRead(clients, what) {
  const set = await Promise.all(clients.map((client, index) => client.set(`node:${index}`, `${what} ${index}`)));
  expect("SET", set.filter((reply) => reply !== "OK"), []);
  const got = await Promise.all(clients.map((client, index) => client.get(`node:${index}`)));
  got.forEach((value, index) => expect(`GET by client ${index}`, value, `${what} ${index}`));
}

await run("node-redis", async (host, port) => {
  const count = Number(process.argv[4]);
  const socket = { host, port, connectTimeout: 20_000, reconnectStrategy: false };
  const first = KINDS.map((kind) => createClient({ ...kind, socket }));
  // An application that needs more connections duplicates its client.
  const clients = Array.from({ length: count }, (_, index) => {
    const client = first[index % first.length].duplicate();
    client.on("error", () => {});
    return client;
  });
  for (let from = 0; from < count; from += STEP) {
    await Promise.all(clients.slice(from, from + STEP).map((client) => client.connect()));
  }
  await writeAndRead(clients, "first");
  console.log("ready");
  await once(process.stdin, "data");
  await writeAndRead(clients, "second");
  await Promise.all(clients.map((client) => client.close()));
});
