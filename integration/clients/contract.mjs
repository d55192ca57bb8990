// What the drivers in JavaScript share: the arguments, the JSON lines and the exit codes of the client matrix (doc.go says
// what each verb does). A driver hands its verbs to `drive`.
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'

/** Thrown for what a library has not: the matrix shows a dash. */
export class Lacks extends Error {}

/** Runs the verb that the command line names: `node driver.js <bootstrap> <verb> [name=value …]`. */
export async function drive(verbs) {
  const [bootstrap, verb, ...rest] = process.argv.slice(2)
  const args = Object.fromEntries(rest.map(arg => arg.split(/=(.*)/s, 2)))
  try {
    if (!Object.hasOwn(verbs, verb)) throw new Error(`no such verb: ${verb}`)
    await verbs[verb](bootstrap, args)
    process.exitCode = 0
  } catch (error) {
    console.error(error)
    process.exitCode = error instanceof Lacks ? 3 : 1
  }
  process.exit() // connections of a library that failed do not keep the driver alive
}

/** Writes a line, whole before it returns: process.exit would cut what process.stdout still has to write. */
export function emit(object) {
  writeFileSync(1, JSON.stringify(object) + '\n')
}

/** The line of a consumed record, whose key, value and headers are strings by now. */
export function emitRecord(partition, { offset, timestamp, key, value }, headers) {
  emit({ partition, offset: Number(offset), timestamp: Number(timestamp), key, value, headers })
}

/** Resolves when standard input ends. */
export async function stdinClosed() {
  process.stdin.resume()
  await once(process.stdin, 'end')
}

/** A promise, and what fulfils it. */
export function deferred() {
  let resolve
  const promise = new Promise(fulfil => { resolve = fulfil })
  return { promise, resolve }
}

/** What is left of the arguments of `create` and `alter`: the topic's settings. */
export function settings({ topic, partitions, ...configs }) {
  return Object.entries(configs).map(([name, value]) => ({ name, value }))
}

const batchBytes = 500_000 // below any broker's limit, so that only a record can be too large

/** The records that `produce` sends, in batches of many. */
export function* batches({ count, size }) {
  let batch = []
  for (let i = 0; i < Number(count); i++) {
    batch.push({ key: `k${i}`, value: `v${i}`.padEnd(Number(size ?? 0), '.'), headers: { n: `${i}` } })
    if (batch.length === 500 || (batch.length + 1) * Number(size ?? 0) > batchBytes) {
      yield batch
      batch = []
    }
  }
  if (batch.length > 0) yield batch
}

/** Calls `send` with s0, s1, … until standard input ends, at most 200 a second, and again with the same one if it fails. */
export async function steadily(send) {
  let ended = false
  stdinClosed().then(() => { ended = true })
  for (let i = 0; !ended;) {
    try {
      const { partition, offset } = await send(`s${i}`)
      emit({ partition, offset: Number(offset), value: `s${i}` })
      i++
    } catch (error) {
      console.error(`s${i}: ${error.message}: once more`)
    }
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
