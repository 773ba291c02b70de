/** The control socket: requests, their bounds, and how a client learns that a daemon has ended. */
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { CliError } from "../../host/cli/cli_error.ts";
import { ControlClient } from "../../host/cli/control_client.ts";
import type { ControlRequest } from "../../host/cli/control_protocol.ts";
import { type ControlHandler, ControlServer } from "../../host/cli/control_server.ts";

/** Short: a socket's path is limited. */
const directory = mkdtempSync(join(tmpdir(), "dfs-"));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
let socketCount = 0;
const freshPath = (): string => join(directory, `s${++socketCount}`);

const busy = new CliError({ exitCode: 5, what: "cannot unmount", why: "in use", try: "wait" });

async function listening(
  t: Test,
  handler: ControlHandler,
): Promise<{ server: ControlServer; path: string }> {
  const path = freshPath();
  const server = new ControlServer(path, handler);
  await server.listen();
  t.teardown(() => server.close({ ended: true, error: null }));
  return { server, path };
}

async function client(path: string): Promise<ControlClient> {
  const connected = await ControlClient.connect(path);
  if (connected === null) throw new Error("nobody listens");
  t.teardown(() => connected.close());
  return connected;
}

async function raw(path: string): Promise<Socket> {
  const socket = connect(path);
  socket.on("error", () => {});
  t.teardown(() => socket.destroy());
  await once(socket, "connect");
  return socket;
}

t.test("answers in order, errors as records", async (t) => {
  const seen: ControlRequest[] = [];
  const { path } = await listening(t, async (request) => {
    seen.push(request);
    if (request.method === "unmount") throw busy;
    return { echo: request.method };
  });
  t.equal(statSync(path).mode & 0o777, 0o600);
  const asking = await client(path);
  const replies = await Promise.all([
    asking.request({ method: "ping" }),
    asking.request({ method: "status" }),
  ]);
  t.same(replies, [{ echo: "ping" }, { echo: "status" }]);
  await t.rejects(
    asking.request({ method: "unmount", lazy: true }),
    new CliError({
      exitCode: 5,
      what: "cannot unmount",
      why: "in use",
      try: "wait",
    }),
  );
  t.same(seen.at(-1), { method: "unmount", lazy: true });
});

t.test("nobody listens: null, also where a killed daemon left its socket", async (t) => {
  const path = freshPath();
  writeFileSync(path, "");
  t.equal(await ControlClient.connect(`${path}-missing`), null);
  t.equal(await ControlClient.connect(path), null);
  const server = new ControlServer(path, async () => null);
  await server.listen();
  t.equal(await (await client(path)).request({ method: "ping" }), null, "it was replaced");
  await server.close({ ended: true, error: null });
  t.equal(existsSync(path), false);
});

t.test("who unmounted is told how it ended; others are just closed", async (t) => {
  const { server, path } = await listening(t, async () => null);
  const [first, other] = [await client(path), await client(path)];
  await other.request({ method: "ping" });
  await first.request({ method: "unmount" }, 0);
  const ended = first.ended();
  const record = busy.toRecord();
  await server.close({ ended: true, error: record });
  t.same(await ended, { ended: true, error: record });
  t.equal(await other.ended(), null);
});

t.test("a reply that is under way goes out before the end", async (t) => {
  let release = (): void => {};
  const { server, path } = await listening(t, async () => {
    await new Promise<void>((resolve) => (release = resolve));
    return "done";
  });
  const asking = await client(path);
  const reply = asking.request({ method: "unmount" }, 0);
  while (release.length !== 1) await new Promise(setImmediate);
  const closed = server.close({ ended: true, error: null });
  release();
  t.equal(await reply, "done");
  t.same(await asking.ended(), { ended: true, error: null });
  await closed;
});

t.test(
  "bounds: a long line and too many requests are cut off, bad ones are answered",
  async (t) => {
    let unanswered = 0;
    const { path } = await listening(t, async (request) => {
      if (request.method === "stats") await new Promise<void>(() => unanswered++);
      return null;
    });
    const long = await raw(path);
    long.write("x".repeat(5000));
    await once(long, "close");
    const greedy = await raw(path);
    greedy.write('{"method":"ping"}\n'.repeat(17));
    await once(greedy, "close");
    const rude = await raw(path);
    rude.write("hello\n");
    const [answer] = await once(rude, "data");
    t.match(JSON.parse(String(answer)), { ok: false, error: { code: "usage", why: "not JSON" } });
    t.equal(unanswered, 0);
  },
);

t.test("a path that the system would cut is refused", async (t) => {
  const server = new ControlServer(freshPath().padEnd(108, "x"), async () => null);
  await t.rejects(server.listen(), { exitCode: 2 } as never);
});

t.test("a file of that name that is no socket is not taken for a daemon", async (t) => {
  const path = freshPath();
  writeFileSync(path, "");
  t.equal(await ControlClient.connect(path), null);
});
