// The life cycle of a reservation, as any JavaScript client lives it: the two clients differ only in how a command is
// sent. `call(...words)` gives a reply or throws an error whose message begins with its word.

export function expect(what, got, wanted) {
  const [left, right] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`${what}: wanted ${right}, got ${left}`);
}

export async function expectError(what, word, call) {
  let got;
  try {
    got = await call();
  } catch (error) {
    if (error.message.split(" ")[0] !== word) throw new Error(`${what}: wanted -${word}, got ${error.message}`);
    return error.message;
  }
  throw new Error(`${what}: wanted -${word}, got ${JSON.stringify(got)}`);
}

/** A map as RESP3 gives it (an object or a Map), or the flat list of RESP2. */
export function asMap(reply) {
  if (reply instanceof Map) return Object.fromEntries(reply);
  if (!Array.isArray(reply)) return reply;
  return Object.fromEntries(reply.flatMap((word, at) => (at % 2 ? [] : [[word, reply[at + 1]]])));
}

export async function lifeCycle(sku, call) {
  const number = (value) => Number(value);
  expect("INV.SETSTOCK", await call("INV.SETSTOCK", sku, "10"), "OK");
  expect("INV.SETSTOCK NX", await call("INV.SETSTOCK", sku, "5", "NX"), null);
  expect("INV.ADDSTOCK", number(await call("INV.ADDSTOCK", sku, "2")), 12);
  expect("SET", await call("SET", `${sku}:plain`, "1"), "OK");

  const reserve = ["INV.RESERVE", sku, "3", "EX", "60", "ID", `${sku}-order-1`];
  const id = await call(...reserve);
  expect("INV.RESERVE again", await call(...reserve), id);
  await expectError("INV.RESERVE other", "CONFLICT", () => call("INV.RESERVE", sku, "4", "ID", `${sku}-order-1`));
  const got = asMap(await call("INV.GET", id));
  expect("INV.GET", [got.sku, number(got.quantity), got.state, got.customer], [sku, 3, "open", null]);
  const stock = asMap(await call("INV.STOCK", sku));
  const numbers = ["total", "available", "reserved", "committed", "protected"].map((name) => number(stock[name]));
  expect("INV.STOCK", numbers, [12, 9, 3, 0, 0]);
  expect("INV.STOCK limit", stock.limit, null);
  const expires = await call("INV.EXTEND", id, "EX", "120");
  expect("INV.EXTEND", asMap(await call("INV.GET", id)).expires_ms, expires);
  expect("GET", await call("GET", `${sku}:plain`), "1");

  expect("INV.COMMIT", await call("INV.COMMIT", id, "REF", "invoice-1"), "OK");
  expect("INV.COMMIT same REF", await call("INV.COMMIT", id, "REF", "invoice-1"), "OK");
  await expectError("second INV.COMMIT", "ALREADYCOMMITTED", () => call("INV.COMMIT", id));
  await expectError("INV.ROLLBACK of a sale", "ALREADYCOMMITTED", () => call("INV.ROLLBACK", id));

  const other = await call("INV.RESERVE", sku, "9");
  const refusal = await expectError("INV.RESERVE too many", "INSUFFICIENTSTOCK", () => call("INV.RESERVE", sku, "1"));
  if (!refusal.includes("requested=1 available=0 retry_ms=")) {
    throw new Error(`the refusal does not say how much and when: ${refusal}`);
  }
  expect("INV.ROLLBACK", await call("INV.ROLLBACK", other), "OK");
  expect("INV.ROLLBACK again", await call("INV.ROLLBACK", other), "OK");
  await expectError("INV.COMMIT after rollback", "ROLLEDBACK", () => call("INV.COMMIT", other));

  const brief = await call("INV.RESERVE", sku, "9", "PX", "20");
  const deadline = Date.now() + 10_000;
  while (asMap(await call("INV.GET", brief)).state !== "expired") {
    if (Date.now() > deadline) throw new Error("a reservation of 20 ms did not expire within 10 s");
  }
  await expectError("INV.COMMIT after expiry", "EXPIRED", () => call("INV.COMMIT", brief));
  expect("the stock is back", number(asMap(await call("INV.STOCK", sku)).available), 9);

  expect("INV.PROTECT", number(await call("INV.PROTECT", sku)), 1);
  expect("INV.ISPROTECTED", (await call("INV.ISPROTECTED", sku, `${sku}-not`)).map(number), [1, 0]);
  expect("INV.UNPROTECT", number(await call("INV.UNPROTECT", sku)), 1);
  await expectError("INV.COMMIT of nothing", "NOTFOUND", () => call("INV.COMMIT", "0-nothing"));
  expect("INV.GET of nothing", await call("INV.GET", "0-nothing"), null);

  // Sent without waiting, so that the client pipelines them.
  expect("INV.SETSTOCK", await call("INV.SETSTOCK", `${sku}-many`, "40"), "OK");
  const replies = await Promise.allSettled(
    Array.from({ length: 50 }, (_, n) => [
      call("INV.RESERVE", `${sku}-many`, "1", "ID", `${sku}-many-${n}`),
      call("SET", `${sku}:${n}`, `${n}`),
      call("GET", `${sku}:${n}`),
    ]).flat(),
  );
  const won = replies.filter((reply, at) => at % 3 === 0 && reply.status === "fulfilled");
  expect("pipelined winners", won.length, 40);
  const read = replies.filter((_, at) => at % 3 === 2).map((reply) => reply.value);
  expect("pipelined GETs", read, Array.from({ length: 50 }, (_, n) => `${n}`));
}

/** Runs `life(host, port)`, and ends the process with its outcome. */
export async function run(name, life) {
  try {
    await life(process.argv[2], Number(process.argv[3]));
    console.log(name, "ok");
    process.exit(0);
  } catch (error) {
    console.error(`${name}: ${error.stack}`);
    process.exit(1);
  }
}
