// Reads JSON, and keeps integers beyond 2^53 whole where the user asks for it.

import type { Integers } from "./api.js"

type Parse = (text: string) => any

/** A token of JSON that is a string or a number. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g

export function parser(integers: Integers | undefined): Parse {
  if (!integers || integers == "number") return JSON.parse
  const convert = integers == "bigint" ? BigInt : String
  const isLarge = (source: string) => /^-?\d{16,}$/.test(source) && !Number.isSafeInteger(+source)
  // Newer runtimes hand the number's text to the reviver.
  let given: string | undefined
  JSON.parse("1", ((_key: string, _value: number, context?: { source?: string }) => {
    given = context?.source
  }) as (key: string, value: any) => any)
  const exact: Parse = given
    ? (text) =>
        JSON.parse(text, ((_key: string, value: unknown, context: { source: string }) =>
          typeof value == "number" && isLarge(context.source) ? convert(context.source) : value) as Parse)
    : (text) => {
        // No text that another client wrote can guess the mark.
        const mark = "\0" + Math.random()
        return JSON.parse(
          text.replace(TOKENS, (token) => (isLarge(token) ? JSON.stringify(mark + token) : token)),
          (_key, value) =>
            typeof value == "string" && value.startsWith(mark) ? convert(value.slice(mark.length)) : value,
        )
      }
  return (text) => (/\d{16}/.test(text) ? exact(text) : JSON.parse(text))
}
