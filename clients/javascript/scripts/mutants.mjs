// Breaks the client in known ways, and sees that the model test finds each of them out: npm run mutants
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const MUTANTS = {
  "a subscription comes back without since": ["if (since != null) message[\"since\"] = since", ""],
  "since is the position at first, not the last id": ["this._position = id;", ""],
  "a history that does not reach back is no gap": ["if (since != null && !recovered) this._emit(\"gap\", { reason: \"history\" });", ""],
  "resync is no gap": ["this._emit(\"gap\", { reason: \"resync\" });", ""],
  "what comes before the answer to subscribe is delivered": ["if (!this._subscribed) return;\n    const { type, id } = message;", "const { type, id } = message;"],
  "an unanswered broadcast is sent again": ["forget = connection._request(message, finish);", "const again = (error) => error?.code == \"unknown\" ? this._waiting.add(write) : finish(error); forget = connection._request(message, again);"],
  "presence is not set again": ["if (scope._wanted || scope._waiting.length) scope._opened()", "if (false) scope._opened()"],
  "a dead line is never probed": ["if (this._probing) return;", "return;"],
}

/** Of the lives, the same each time: a mutant that was found once is found again. */
const SEED = "3"

const source = readFileSync("dist/index.js", "utf8")
const folder = mkdtempSync(join(tmpdir(), "mutants-"))
let survivors = 0
const only = process.argv[2] && new RegExp(process.argv[2])
for (const [name, [from, to]] of Object.entries(MUTANTS)) {
  if (only && !only.test(name)) continue
  if (source.split(from).length != 2) throw new Error(`not found once: ${from}`)
  const file = join(folder, "index.mjs")
  writeFileSync(file, source.replace(from, to))
  const run = spawnSync("node", ["--test", "test/model.test.mjs"], {
    env: { ...process.env, CLIENT: file, MODEL_RUNS: process.env.MODEL_RUNS ?? "300", MODEL_SEED: process.env.MODEL_SEED ?? SEED },
    encoding: "utf8",
  })
  const found = /Got (?:Assertion)?[Ee]rror[^\n]*/.exec(run.stdout)?.[0]
  if (run.status == 0) survivors++
  console.log(`${run.status == 0 ? "SURVIVED" : "found"}: ${name}${found ? ` (${found.slice(0, 100)})` : ""}`)
}
rmSync(folder, { recursive: true })
process.exit(survivors ? 1 : 0)
