// The life cycle through node-redis, over RESP2 and RESP3: life_cycle_node_redis.mjs HOST PORT.

import { createClient } from "redis";
import { expect, lifeCycle, run } from "./life_cycle.mjs";

await run("node-redis", async (host, port) => {
  for (const RESP of [2, 3]) {
    const client = createClient({ RESP, socket: { host, port, connectTimeout: 10_000, reconnectStrategy: false } });
    client.on("error", () => {});
    await client.connect();
    await lifeCycle(`node-redis-${RESP}`, (...words) => client.sendCommand(words));
    const replies = await client.multi().set("node-redis:tx", "in").get("node-redis:tx").exec();
    expect("MULTI/EXEC", replies, ["OK", "in"]);
    await client.close();
  }
});
