// JSON as text. Rows and payloads are cut and shown as they were sent: no number is read, so none is rounded, and
// nothing that reads it recurses, so that no depth is too deep.

const SPACE = /[ \t\n\r]*/y
const MARKS = /["{}[\]]/g
const END_OF_SCALAR = /[,\]}\s]|$/g

function after(pattern, text, at) {
    pattern.lastIndex = at
    return pattern.test(text) ? pattern.lastIndex : -1
}

function endOfString(text, at) {
    for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
        let first = end
        while (text[first - 1] === "\\") first--
        if ((end - first) % 2 === 0) return end + 1
    }
    return text.length
}

function endOfValue(text, at) {
    if (text[at] === '"') return endOfString(text, at)
    if (text[at] !== "{" && text[at] !== "[") {
        END_OF_SCALAR.lastIndex = at
        return END_OF_SCALAR.exec(text).index
    }
    let depth = 0
    MARKS.lastIndex = at
    for (let found = MARKS.exec(text); found; found = MARKS.exec(text)) {
        if (found[0] === '"') MARKS.lastIndex = endOfString(text, found.index)
        else if (found[0] === "{" || found[0] === "[") depth++
        else if (--depth === 0) return found.index + 1
    }
    return text.length
}

/** The parts of an object or array in valid JSON: [name, text of the value], `most` of them; null for any other value. */
export function parts(text, most = Infinity) {
    let at = after(SPACE, text, 0)
    const isObject = text[at] === "{"
    if (!isObject && text[at] !== "[") return null
    const found = []
    for (at = after(SPACE, text, at + 1); found.length < most && at < text.length && text[at] !== "}" && text[at] !== "]";) {
        let name = found.length
        if (isObject) {
            const end = endOfString(text, at)
            name = JSON.parse(text.slice(at, end))
            at = after(SPACE, text, after(SPACE, text, end) + 1)
        }
        const end = endOfValue(text, at)
        found.push([name, text.slice(at, end)])
        at = after(SPACE, text, end)
        if (text[at] === ",") at = after(SPACE, text, at + 1)
    }
    return found
}

/** JSON of a value whose large integers are BigInt, with every digit where the browser can write them. */
export function json(value, indent) {
    const exact = (_, one) => (typeof one === "bigint" ? JSON.rawJSON?.(String(one)) ?? String(one) : one)
    return JSON.stringify(value, exact, indent)
}

/** The parts of an object by their names. */
export const fields = (text) => new Map(parts(text))

// What changes the direction of text, or is not seen at all.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** Text with its unseen characters spelled out. */
export const seen = (text) => text.replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** The same for text of several lines. */
export const seenLines = (text) => text.split("\n").map(seen).join("\n")

const PLAIN = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.])/y

/** Where text is no JSON, and why, in words; null where it is. */
export function mistake(text) {
    try {
        JSON.parse(text)
        return null
    } catch {
        const [at, why] = find(text)
        const before = text.slice(0, at).split("\n")
        return `Line ${before.length}, column ${before.at(-1).length + 1}: ${why}`
    }
}

function find(text) {
    const open = []
    let next = "value" // or "name", "colon", "end"; "first" where a list or an object may be empty
    for (let at = after(SPACE, text, 0); ; at = after(SPACE, text, at)) {
        const one = text[at]
        const inside = open.at(-1)
        if (one === undefined) return [at, ended(next, inside)]
        if (next === "end") {
            if (!inside) return [at, "there is more after the end."]
            if (one === inside) open.pop()
            else if (one !== ",") return [at, `a comma or ${inside} is missing here.`]
            if (one === ",") next = inside === "}" ? "name" : "value"
            at++
        } else if (next === "colon") {
            if (one !== ":") return [at, "a colon is missing after the name."]
            next = "value"
            at++
        } else if (next === "first" && one === inside) {
            open.pop()
            next = "end"
            at++
        } else if (next === "name" || (next === "first" && inside === "}")) {
            if (one !== '"') return [at, one === "}" ? "a comma stands before the end of the object." : "a name in double quotes is missing."]
            const [end, wrong] = checkedString(text, at)
            if (wrong) return [end, wrong]
            next = "colon"
            at = end
        } else if (one === "{" || one === "[") {
            open.push(one === "{" ? "}" : "]")
            next = "first"
            at++
        } else {
            const [end, wrong] = one === '"' ? checkedString(text, at) : [after(PLAIN, text, at)]
            if (wrong) return [end, wrong]
            if (end < 0) return [at, unknown(one)]
            next = "end"
            at = end
        }
    }
}

function ended(next, inside) {
    if (next === "colon") return "the text ends before the colon and the value."
    return inside ? `the text ends before its ${inside}.` : "a value is missing."
}

function unknown(one) {
    if (one === "'") return "text stands in double quotes, not in single ones."
    if (one === "]" || one === "}" || one === ",") return "a value is missing."
    return "this is no JSON value: text stands in double quotes, and other words are true, false and null."
}

/** [where it ends], or [where it is wrong, why]. */
function checkedString(text, at) {
    for (let end = at + 1; end < text.length; end++) {
        if (text[end] === '"') return [end + 1]
        if (text[end] < " ") return [end, "a line break or a control character in text is written as \\n or \\u00…."]
        if (text[end] !== "\\") continue
        if (!/^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.test(text.slice(end, end + 6))) return [end, "after \\ comes one of \" \\ / b f n r t, or u and four digits."]
        end++
    }
    return [at, "the text in quotes has no end."]
}
