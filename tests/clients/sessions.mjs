// A shop's sessions with express-session and connect-redis: sessions.mjs HOST PORT TENANT PASSWORD PROTOCOL.
//
// Visitors log in over HTTP, come again, are kept alive, log out; the store lists and clears what is the tenant's. All tenants
// have the same session ids and the same prefix. Says "ready" when its visitors are there, and goes on when it is told.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { once } from "node:events";
import session from "express-session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";

const [host, port, tenant, password, protocol] = process.argv.slice(2);
const VISITORS = 40;
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function expect(what, got, wanted) {
  const [has, wants] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (has === wants) return;
  console.error(`${tenant}, ${what}: wanted ${wants}, got ${has}`);
  process.exit(1);
}

const client = createClient({ socket: { host, port: Number(port) }, username: tenant, password, RESP: Number(protocol), name: `${tenant}-shop` });
client.on("error", (error) => console.error(String(error)));
await client.connect();
const store = new RedisStore({ client, prefix: "sess:", ttl: 60, scanCount: 7 });
let visitor = 0;
const sessions = session({ store, secret: "the same for all", resave: false, saveUninitialized: false, rolling: true, cookie: { maxAge: 600_000 }, genid: () => `visitor-${visitor++}` });

const shop = createServer((request, response) => {
  sessions(request, response, () => {
    const mine = request.session;
    if (request.url === "/login") mine.user = { of: tenant, visits: 0 };
    if (request.url === "/logout") return mine.destroy(() => response.end("bye"));
    if (request.url === "/renew") return mine.regenerate(() => response.end(request.sessionID));
    if (mine.user && request.url === "/visit") mine.user.visits += 1;
    response.end(JSON.stringify(mine.user ?? null));
  });
});
shop.listen(0, "127.0.0.1");
await once(shop, "listening");
const url = `http://127.0.0.1:${shop.address().port}`;

async function visit(path, cookie) {
  const response = await fetch(url + path, { headers: cookie ? { cookie } : {} });
  return [await response.text(), response.headers.get("set-cookie")?.split(";")[0]];
}

const cookies = [];
for (let index = 0; index < VISITORS; index++) {
  const [said, cookie] = await visit("/login");
  expect("login", JSON.parse(said), { of: tenant, visits: 0 });
  cookies.push(cookie);
}
console.log("ready");
await told.next();

// The other tenant has its own by now, under the same names.
const numbers = Array.from({ length: VISITORS }, (_, index) => `visitor-${index}`).sort();
expect("ids()", (await store.ids()).sort(), numbers);
expect("length()", await store.length(), VISITORS);
const all = await store.all();
expect("all()", all.map((one) => [one.id, one.user.of]).sort(), numbers.map((id) => [id, tenant]));
expect("KEYS", (await client.keys("sess:*")).length, VISITORS);
expect("DBSIZE", await client.dbSize(), VISITORS);
for (const cookie of cookies) expect("a visit", JSON.parse((await visit("/visit", cookie))[0]), { of: tenant, visits: 1 });
for (const cookie of cookies.slice(0, 5)) expect("a logout", (await visit("/logout", cookie))[0], "bye");
expect("after a logout", JSON.parse((await visit("/visit", cookies[0]))[0]), null);
expect("a new id", (await visit("/renew", cookies[5]))[0].startsWith("visitor-"), true);
expect("fewer", await store.length(), VISITORS - 5);
// What is touched lives longer again.
expect("EXPIRE", await client.expire("sess:visitor-9", 1000), 1);
await visit("/", cookies[9]);
const ttl = await client.ttl("sess:visitor-9");
expect(`a touch (${ttl})`, ttl > 500 && ttl <= 600, true);
await store.destroy("visitor-9");
expect("destroyed", await store.get("visitor-9"), null);
const sub = client.duplicate();
await sub.connect();
const news = new Promise((resolve) => sub.subscribe("news", resolve));
await client.ping();
await sub.ping();
expect("heard by", await client.publish("news", tenant), 1);
expect("news", await news, tenant);
console.log("ready again");
await told.next();
await store.clear();
expect("cleared", await store.ids(), []);
await Promise.all([client.close(), sub.close()]);
console.log(tenant, "sessions over RESP", protocol);
process.exit(0);
