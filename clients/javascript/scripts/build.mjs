// Builds dist/, or another directory: ES modules, CommonJS, the declarations of both, and realtime.min.js, which
// gateways serve. Prints what the minified files weigh, and fails when they weigh too much.
//
//     node scripts/build.mjs [DIRECTORY]
import { execFileSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"

const dist = resolve(process.argv[2] ?? fileURLToPath(new URL("../dist", import.meta.url)))
process.chdir(fileURLToPath(new URL("..", import.meta.url)))
const { name, version, license } = JSON.parse(readFileSync("package.json", "utf8"))
const ENTRIES = ["index", "react", "testing"]
/** Declarations that an entry needs. */
const PUBLIC = /^(index|api|errors|react|testing)\.d\.ts$|^testing\//
const TARGET = "es2022"
// gzip -9, in bytes. The core's is a promise; other programs called gzip, which also write the name of the file, need up
// to 60 bytes more than this one.
const LIMITS = { core: 6_500 - 60, react: 1_000 - 10 }

const shared = { bundle: true, target: TARGET, charset: "utf8", logLevel: "warning", external: ["react", "./index.js"] }
// What begins with an underscore is nobody's business outside of the bundle.
const small = { minify: true, mangleProps: /^_./, write: false }

const gzipped = (bytes) => gzipSync(bytes, { level: 9 }).length

rmSync(dist, { recursive: true, force: true })
mkdirSync(dist, { recursive: true })
for (const entry of ENTRIES) {
  for (const [format, ending] of [["esm", "js"], ["cjs", "cjs"]]) {
    await build({ ...shared, entryPoints: [`src/${entry}.ts`], format, outfile: join(dist, `${entry}.${ending}`) })
  }
}

execFileSync("node_modules/.bin/tsc", ["-p", ".", "--outDir", dist], { stdio: "inherit" })
for (const file of readdirSync(dist, { recursive: true }).filter((file) => file.endsWith(".d.ts"))) {
  if (!PUBLIC.test(file)) {
    rmSync(join(dist, file))
    continue
  }
  const text = readFileSync(join(dist, file), "utf8")
  const common = text.replace(/(from |import\()"(\.[^"]*)\.js"/g, '$1"$2.cjs"')
  writeFileSync(join(dist, file.replace(/\.d\.ts$/, ".d.cts")), common)
}

const banner = `/*! ${name} ${version} | ${license} */`
const core = await build({ ...shared, ...small, entryPoints: ["src/index.ts"], format: "esm", banner: { js: banner } })
writeFileSync(join(dist, "realtime.min.js"), core.outputFiles[0].contents)
const react = await build({ ...shared, ...small, entryPoints: ["src/react.ts"], format: "esm" })

const sizes = { core: gzipped(core.outputFiles[0].contents), react: gzipped(react.outputFiles[0].contents) }
let failed = false
for (const [part, size] of Object.entries(sizes)) {
  const limit = LIMITS[part]
  console.log(`${part}: ${size} bytes minified and compressed by gzip -9, of ${limit}`)
  failed ||= size > limit
}
if (failed) {
  console.error("too big")
  process.exit(1)
}
