// Runs the cases of an unpacked http-cache-tests through a gateway and writes
// what came of each: node driver.mjs ROOT BASE-URL AT-ONCE RESULT [ID...]
//
// The suite's own runner waits for a hundred cases at a time; here the next
// begins when one has ended, so that the load is even and small.
import { existsSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [root, base, atOnce, result, ...ids] = process.argv.slice(2)
const load = path => import(pathToFileURL(path))
const engine = existsSync(join(root, 'test-engine')) ? join(root, 'test-engine') : root

const suites = [...(await load(join(root, 'tests', 'index.mjs'))).default]
const surrogates = join(root, 'tests', 'surrogate-control.mjs') // left out of the old index
if (engine === root && existsSync(surrogates)) suites.push((await load(surrogates)).default)

const require = createRequire(join(root, 'package.json'))
const fetcher = ['node-fetch-with-proxy', 'node-fetch'].flatMap(name => {
  try { return [require.resolve(name)] } catch { return [] }
})[0]
const config = await load(join(engine, 'client', 'config.mjs'))
const fetch = (await load(fetcher)).default
const agent = new Agent({ keepAlive: false }) // each request has a connection, and so an instance, of its own
config.setFetch((url, options) => fetch(url, { agent, ...options }))
config.setBaseUrl(base)
config.setUseBrowserCache(false)
const client = await load(join(engine, 'client', 'test.mjs'))
const run = client.makeTest ?? client.makeCacheTest

const cases = suites.flatMap(suite => suite.tests
  .filter(test => !test.browser_only && (ids.length === 0 || ids.includes(test.id)))
  .map(test => ({ test, suite: suite.id })))
const waiting = [...cases]
await Promise.all(Array.from({ length: Number(atOnce) }, async () => {
  for (let next; (next = waiting.shift());) await run(next.test)
}))

writeFileSync(result, JSON.stringify(cases.map(({ test, suite }) => {
  const outcome = client.testResults[test.id]
  return {
    suite,
    id: test.id,
    kind: test.kind ?? 'required',
    needs: test.depends_on ?? [],
    passed: outcome === true,
    error: Array.isArray(outcome) ? outcome[0] : 'none',
    reason: Array.isArray(outcome) ? outcome[1] : 'it did not run'
  }
})))
process.exit(0) // whatever is still open
