// A proxy before the API, which remembers the requests of a job and disturbs those that a test names.

import { createServer } from "node:http";

/**
 * Starts a proxy. `disturb` gets each request before it is passed on. It may change the request's headers, and returns what
 * else is wrong: `before` loses the request, `after` loses the answer, and a status is answered in the place of the API.
 * @param {string} api
 * @param {(request: {method: string, path: string, number: number, headers: Record<string, string>}) =>
 *   Promise<"before" | "after" | number | void> | "before" | "after" | number | void} [disturb]
 */
export async function startProxy(api, disturb = () => {}) {
  /**
   * @type {{method: string, path: string, route: string, number: number, headers: any, at: number, body: string,
   *   status?: number, answer?: Headers}[]}
   */
  const requests = [];
  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const [method, path] = [incoming.method ?? "", incoming.url ?? ""];
    const route = path.replace(/\?.*/, "").replace(/deploy_\w+/, "{id}");
    const number = requests.filter((other) => other.method === method && other.route === route).length + 1;
    const { host, connection, ...headers } = incoming.headers;
    const body = Buffer.concat(chunks).toString();
    const request = { method, path, route, number, headers, body, at: performance.now() };
    requests.push(request);
    const wrong = await disturb(request);
    if (wrong === "before") return incoming.socket.destroy();
    if (typeof wrong === "number") {
      request.status = wrong;
      return outgoing.writeHead(wrong, { "Content-Type": "text/html", "Retry-After": "2" }).end("<h1>Unavailable</h1>");
    }
    const answer = await fetch(api + path, { method, headers, body: method === "GET" ? undefined : body });
    Object.assign(request, { status: answer.status, answer: answer.headers });
    const text = Buffer.from(await answer.arrayBuffer());
    if (wrong === "after") return incoming.socket.destroy();
    const ofConnection = ["content-encoding", "content-length", "transfer-encoding"];
    const passed = [...answer.headers].filter(([name]) => !ofConnection.includes(name));
    outgoing.writeHead(answer.status, Object.fromEntries(passed)).end(text);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", () => listening(undefined)));
  const url = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
  return { url, requests, stop: () => server.close().closeAllConnections() };
}
