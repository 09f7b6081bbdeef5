// Answers each request with what Node's parser made of it. `node echo.mjs PORT`.
import { createHash } from "node:crypto";
import { createServer } from "node:http";

createServer({ maxHeaderSize: 1 << 17 }, (request, response) => {
  const hash = createHash("sha256");
  request.on("data", (part) => hash.update(part));
  request.on("end", () => {
    const { method, url, headers } = request;
    const body = JSON.stringify({ method, target: url, host: headers.host, body: hash.digest("hex") });
    response.writeHead(200, { "content-length": Buffer.byteLength(body) }).end(body);
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
