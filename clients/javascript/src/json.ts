// Reads JSON, and keeps integers beyond 2^53 whole where the user asks for it.

import type { Integers } from "./api.js"

type Parse = (text: string) => any

/** A token of JSON that is a string or a number. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g

export function parser(integers: Integers | undefined): Parse {
  if (!integers || integers == "number") return JSON.parse
  const convert = integers == "bigint" ? BigInt : String
  const isLarge = (source: string) => /^-?\d{16,}$/.test(source) && !Number.isSafeInteger(+source)
  const exact: Parse = (text) => {
    // No text that another client wrote can guess the mark.
    const mark = "\0" + Math.random()
    const whole = [JSON.parse(text.replace(TOKENS, (token) => (isLarge(token) ? JSON.stringify(mark + token) : token)))]
    // A loop, where a reviver would recurse: what others write may be nested deeper than the stack.
    const open: any[] = [whole]
    for (let one = open.pop(); one; one = open.pop()) {
      for (const key of Object.keys(one)) {
        const value = one[key]
        if (typeof value == "string") {
          if (value.startsWith(mark)) one[key] = convert(value.slice(mark.length))
        } else if (value && typeof value == "object") open.push(value)
      }
    }
    return whole[0]
  }
  return (text) => (/\d{16}/.test(text) ? exact(text) : JSON.parse(text))
}
