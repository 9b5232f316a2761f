// The name of a filter on the wire. The same filter has the same name in every client: they share the bytes of a frame.

const LONGEST = 64

export function nameOf(filter: string): string {
  if (filter.length <= LONGEST) return filter
  return "#" + hash(filter, 0x811c9dc5) + hash(filter, 0x9747b28c)
}

function hash(text: string, seed: number): string {
  for (let at = 0; at < text.length; at++) seed = Math.imul(seed ^ text.charCodeAt(at), 0x01000193) ^ (seed >>> 15)
  return (seed >>> 0).toString(36)
}
