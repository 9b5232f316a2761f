// Makes the vendored files of the dashboard from the packages that package-lock.json names: make vendor.
// The first argument is the directory to write to.
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const here = dirname(fileURLToPath(import.meta.url))
const target = process.argv[2] ?? join(here, "../../gateway/dashboard/vendor")

const packages = { // a made file: the packages in it
    "preact.js": ["preact", "htm", "@preact/signals", "@preact/signals-core"],
}

const read = (name, file) => readFile(join(here, "node_modules", name, file), "utf8")
const described = async (name) => JSON.parse(await read(name, "package.json"))

async function banner(file) {
    const each = await Promise.all(packages[file].map(described))
    return `/*! ${each.map(({ name, version, license }) => `${name} ${version} (${license})`).join(", ")}: see LICENSES.txt */`
}

await mkdir(target, { recursive: true })
for (const file of Object.keys(packages)) {
    await build({
        absWorkingDir: here, entryPoints: [`./${file}`], outfile: join(target, file), bundle: true, minify: true,
        format: "esm", target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning",
        banner: { js: await banner(file) },
    })
}

const texts = ["The vendored files here come from these packages. `make vendor` makes them anew.\n"]
for (const name of [...new Set(Object.values(packages).flat())].sort()) {
    const { version, license, homepage, repository } = await described(name)
    const files = Object.keys(packages).filter((file) => packages[file].includes(name))
    const address = homepage || repository?.url || repository
    texts.push(
        `${"=".repeat(80)}\n${name} ${version} (${license}), in ${files.join(", ")}\n${address}\n\n` +
        `${(await read(name, "LICENSE")).replaceAll("\r\n", "\n").trimEnd()}\n`,
    )
}
await writeFile(join(target, "LICENSES.txt"), texts.join("\n"))
