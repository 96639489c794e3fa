// The life cycle through ioredis: life_cycle_ioredis.mjs HOST PORT.

import { Redis } from "ioredis";
import { expect, lifeCycle, run } from "./life_cycle.mjs";

await run("ioredis", async (host, port) => {
  const client = new Redis({ host, port, maxRetriesPerRequest: 1, commandTimeout: 10_000 });
  client.on("error", () => {});
  await lifeCycle("ioredis", (...words) => client.call(...words));

  const replies = await client.multi().set("ioredis:tx", "in").get("ioredis:tx").exec();
  expect("MULTI/EXEC", replies, [[null, "OK"], [null, "in"]]);
  const piped = await client.pipeline().call("INV.SETSTOCK", "ioredis-pipe", "1").call("INV.RESERVE", "ioredis-pipe", "1", "ID", "ioredis-pipe").get("ioredis:tx").exec();
  expect("pipeline()", piped, [[null, "OK"], [null, "0-ioredis-pipe"], [null, "in"]]);
  await client.quit();
});
