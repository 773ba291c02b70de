/** Databases on a mount: PostgreSQL whose file system dies under it, SQLite in every journal mode. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import process from "node:process";
import t from "tap";
import {
  delay,
  mountImpossible,
  must,
  programsMissing,
  python,
  runProgram,
  shell,
  withMount,
} from "../support/mount.ts";
import { provide } from "./reference.ts";

t.setTimeout(1_800_000);
const noMount = await mountImpossible();

/** Where Debian keeps initdb and postgres. */
function postgresPrograms(): string | null {
  try {
    const [version] = readdirSync("/usr/lib/postgresql").sort().reverse();
    return version === undefined ? null : `/usr/lib/postgresql/${version}/bin`;
  } catch {
    return null;
  }
}

const noPostgres =
  noMount ||
  (process.geteuid?.() === 0 ? false : "needs root, to run PostgreSQL as its user") ||
  provide("pgbench", "postgresql");

t.test("PostgreSQL, killed with its file system", { skip: noPostgres }, async (t) => {
  const programs = postgresPrograms();
  if (programs === null) throw new Error("PostgreSQL's programs are not where Debian has them");
  await withMount({ size: "4G", memory: "128M", limitSeconds: 900 }, async (mounted) => {
    await shell(`chmod 711 ${mounted.sandbox.directory}`, "/");
    const as = (line: string): Promise<string> =>
      must(
        "setpriv",
        ["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", "-ec", line],
        {
          cwd: "/tmp",
        },
      );
    const sockets = mounted.sandbox.path("sockets");
    const data = `${mounted.directory}/data`;
    await shell(
      `mkdir ${sockets} ${data} && chown postgres ${sockets} ${data} && chmod 700 ${data}`,
      "/",
    );
    const options = `-k ${sockets} -c listen_addresses= -c port=5999 -c fsync=on`;
    const start = async (): Promise<void> => {
      const line = `${programs}/pg_ctl -s -w -t 120 -D ${data} -o "${options}" -l ${sockets}/log start`;
      try {
        await as(line);
      } catch (error) {
        throw new Error(`${error}\n${await shell(`tail -n 25 ${sockets}/log`, "/")}`);
      }
    };
    /** Ends all of the server at once, as the machine's end would, and waits until it has. */
    const killAll = async (): Promise<void> => {
      for (let turn = 0; turn < 200; turn++) {
        if ((await runProgram("pkill", ["-9", "-u", "postgres"])).code !== 0) return;
        await delay(50);
      }
      throw new Error("PostgreSQL does not end");
    };
    const query = async (sql: string): Promise<string> =>
      (await as(`psql -h ${sockets} -p 5999 -Atqc "${sql}" postgres`)).trim();
    await as(`${programs}/initdb -D ${data} -A trust > ${sockets}/initdb`);
    await start();
    await as(`pgbench -h ${sockets} -p 5999 -i -q -s 2 postgres 2> /dev/null`);
    for (let round = 0; round < 3; round++) {
      const notes = `${sockets}/round-${round}`;
      const clients = spawn(
        "setpriv",
        [
          "--reuid=postgres",
          "--regid=postgres",
          "--clear-groups",
          "sh",
          "-c",
          // One line for each commit that a client was told of.
          `cd ${sockets} && pgbench -h ${sockets} -p 5999 -c 4 -j 2 -T 60 -n -l --log-prefix=${notes} postgres`,
        ],
        { cwd: "/tmp", stdio: "ignore" },
      );
      await delay(4000 + round * 1500);
      const had = Number(await query("select count(*) from pgbench_history"));
      await mounted.kill9();
      t.comment(`round ${round}: ${had} transactions before the file system died`);
      await killAll();
      if (clients.exitCode === null && clients.signalCode === null) await once(clients, "exit");
      await mounted.mount();
      await shell(`rm -f ${data}/postmaster.pid`, "/");
      await start();
      t.ok(Number(await query("select count(*) from pgbench_history")) >= had, "no commit is lost");
      const [history, accounts, tellers, branches] = (
        await query(
          "select (select coalesce(sum(delta),0) from pgbench_history), (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), (select sum(bbalance) from pgbench_branches)",
        )
      ).split("|");
      t.same([accounts, tellers, branches], [history, history, history], "balances agree");
    }
    await as(`${programs}/pg_ctl -s -w -D ${data} stop`);
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" });
  });
});

const SQLITE = `
import os, sqlite3, sys, time
mode = sys.argv[1]
db = sqlite3.connect(mode + ".db", isolation_level=None, timeout=60)
print(db.execute("pragma journal_mode=" + mode).fetchone()[0])
# "full" does not sync the directory when the journal is unlinked, which is the commit in mode "delete".
db.execute("pragma synchronous=extra")
db.execute("create table if not exists t(id integer primary key, text blob)")
db.execute("create index if not exists i on t(text)")
if sys.argv[2] == "work":
    for n in range(60):
        db.execute("begin immediate")
        db.executemany("insert into t(text) values(?)", [(os.urandom(20 + n * 7),) for _ in range(9)])
        db.execute("delete from t where id % 11 = ?", (n % 11,))
        db.execute("commit")
    db.execute("begin"); db.execute("delete from t"); db.execute("rollback")
    db.execute("vacuum")
elif sys.argv[2] == "for ever":
    n = db.execute("select coalesce(max(id), 0) from t").fetchone()[0]
    while True:
        db.execute("begin immediate"); n += 1
        db.execute("insert into t(id, text) values(?, ?)", (n, b"x" * (n % 3000)))
        db.execute("commit"); sys.stderr.write("%d\\n" % n); sys.stderr.flush()
print(db.execute("pragma integrity_check").fetchone()[0], db.execute("select count(*) from t").fetchone()[0] > 0)
`;

t.test(
  "SQLite in every journal mode",
  { skip: noMount || programsMissing("python3") },
  async (t) => {
    await withMount({ size: "1G", limitSeconds: 900 }, async (mounted) => {
      const { directory } = mounted;
      for (const mode of ["delete", "truncate", "persist", "memory", "wal", "off"]) {
        // Without a journal there is no rollback to be tried.
        const work =
          mode === "off"
            ? SQLITE.replace('db.execute("rollback")', 'db.execute("commit")').replace(
                'db.execute("delete from t"); ',
                "",
              )
            : SQLITE;
        t.equal(await python(work, [mode, "work"], directory), `${mode}\nok True\n`, mode);
      }
      for (const mode of ["delete", "truncate", "persist", "wal"]) {
        const writer = spawn("python3", ["-c", SQLITE, mode, "for ever"], {
          cwd: directory,
          stdio: ["ignore", "ignore", "pipe"],
        });
        let told = "";
        writer.stderr.setEncoding("utf8").on("data", (text: string) => {
          told += text;
        });
        while (told.split("\n").length < 40) await delay(20);
        // The disk goes first, then the program.
        const ended = once(writer, "exit");
        await mounted.kill9();
        writer.kill("SIGKILL");
        await ended;
        await mounted.mount();
        const last = Math.max(
          ...told
            .split("\n")
            .filter((line) => /^\d+$/.test(line))
            .map(Number),
        );
        t.equal(
          await python(SQLITE, [mode, "look"], directory),
          `${mode}\nok True\n`,
          `${mode}: after a crash`,
        );
        const found = await python(
          `import sqlite3, sys\nprint(sqlite3.connect(sys.argv[1]).execute("select max(id) from t").fetchone()[0])`,
          [`${mode}.db`],
          directory,
        );
        t.ok(Number(found) >= last, `${mode}: commit ${last} was told, ${found.trim()} is there`);
      }
      await mounted.umount();
      t.match(mounted.fsck(), { code: 0, out: "clean\n" });
    });
  },
);
