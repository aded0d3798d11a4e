import { createApp } from "./app.js";

const port = Number(process.env.SVC_PORT ?? 8000);
const server = createApp();
server.listen(port, "0.0.0.0", () => console.log(`listening on ${port}`));

// On TERM no more connections are taken, and requests that are under way may end:
// in less than stop.timeout in app.yaml (30s).
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => process.exit(1), 25_000).unref();
});
