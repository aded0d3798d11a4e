import { createServer } from "node:http";

const routes = {
  "/": () => [200, "hello from {{name}}\n"],
  // Says whether this process can do its work; ask what it depends on here.
  "/healthz": () => [200, "ok\n"],
};

export function createApp() {
  return createServer((req, res) => {
    const { pathname } = new URL(req.url, "http://localhost");
    const handler = Object.hasOwn(routes, pathname) ? routes[pathname] : () => [404, "not found\n"];
    const [status, text] = handler(req);
    res.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(text);
  });
}
