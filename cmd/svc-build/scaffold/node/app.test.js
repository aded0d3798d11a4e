import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createApp } from "./app.js";

const server = createApp();
let base;

before(() => new Promise((done) => server.listen(0, "127.0.0.1", () => {
  base = `http://127.0.0.1:${server.address().port}`;
  done();
})));
after(() => server.close());

for (const [path, status, text] of [
  ["/", 200, "hello from {{name}}\n"],
  ["/healthz", 200, "ok\n"],
  ["/nothing", 404, "not found\n"],
]) {
  test(`GET ${path}`, async () => {
    const res = await fetch(base + path, { headers: { connection: "close" } });
    assert.equal(res.status, status);
    assert.equal(await res.text(), text);
  });
}
