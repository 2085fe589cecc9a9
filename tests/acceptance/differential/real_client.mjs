// Calls of Node's own clients against the base URL given; prints what they saw as JSON.
import http from "node:http";

const base = new URL(process.argv[2]);
const seen = {};
const hidden = new Set(["x-tracemill-trace-id", "connection", "keep-alive", "transfer-encoding"]);
const fields = (raw) => {
  const pairs = [];
  for (let at = 0; at < raw.length; at += 2) if (!hidden.has(raw[at].toLowerCase())) pairs.push([raw[at], raw[at + 1]]);
  return pairs;
};
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(path, options = {}, pieces = []) {
  return new Promise((resolve) => {
    const interim = [];
    const request = http.request({ host: base.hostname, port: base.port, path, agent, ...options });
    request.on("information", (info) => interim.push([info.statusCode, fields(info.rawHeaders)]));
    request.on("upgrade", (response, socket) => { socket.destroy(); resolve({ upgraded: response.statusCode }); });
    request.on("error", () => resolve({ error: true, interim }));
    request.on("response", (response) => {
      const blocks = [];
      response.on("data", (block) => blocks.push(block));
      response.on("error", () => resolve({ cut: true, body: Buffer.concat(blocks).toString("base64") }));
      response.on("end", () => resolve({
        status: response.statusCode, reason: response.statusMessage, fields: fields(response.rawHeaders), interim,
        body: Buffer.concat(blocks).toString("base64"), trailers: response.rawTrailers,
      }));
    });
    if (options.waits) request.on("continue", () => { interim.push("continue"); request.end("waited"); });
    else { for (const piece of pieces) request.write(piece); request.end(); }
  });
}

async function fetched(path, options) {
  const response = await fetch(new URL(path, base), { redirect: "manual", ...options });
  const names = [...response.headers].filter(([name]) => !hidden.has(name));
  const cookies = response.headers.getSetCookie();
  try {
    return { status: response.status, words: response.statusText, names, cookies, body: await response.text() };
  } catch { return { status: response.status, cut: true }; }
}

seen.get = await call("/v1/plain");
seen.head = await call("/v1/plain", { method: "HEAD" });
seen.sized = await call("/v1/echo", { method: "POST", headers: { "Content-Length": 5, "X-Odd-CASE": "1" } }, ["he", "llo"]);
seen.chunked = await call("/v1/echo", { method: "PUT" }, ["one", "two", Buffer.from([0, 255])]);
seen.expect = await call("/v1/expect", { method: "POST", waits: true, headers: { Expect: "100-continue", "Content-Length": 6 } });
seen.hints = await call("/v1/hints");
seen.trailers = await call("/v1/trailers");
seen.stream = await call("/v1/stream", { method: "POST" }, ["{}"]);
seen.cut = await call("/v1/cut");
seen.noContent = await call("/v1/none", { method: "DELETE" });
seen.many = await Promise.all(Array.from({ length: 20 }, (_, n) => call(`/v1/echo?${n}`, { method: "POST" }, [`${n}`])));
seen.fetchGet = await fetched("/v1/plain");
seen.fetchGzip = await fetched("/v1/gzip");
seen.fetchPost = await fetched("/v1/echo", { method: "POST", body: JSON.stringify({ a: "ü" }), headers: { "Content-Type": "application/json" } });
seen.fetchUpload = await fetched("/v1/echo", { method: "POST", duplex: "half", body: new Blob(["a".repeat(100000)]).stream() });
seen.fetchRedirect = await fetched("/v1/redirect");
seen.fetchStream = await fetched("/v1/stream", { method: "POST", body: "{}" });
seen.fetchCut = await fetched("/v1/cut");
agent.destroy();
console.log(JSON.stringify(seen));
