// A producer and a worker of BullMQ. Standard input's end stops the producer; when all
// jobs are done, the program ends.
import { Queue, Worker } from 'bullmq'
import Redis from 'ioredis'
import { target, nodes, say, sleep, going } from './talk.mjs'

const open = () => {
  const common = { maxRetriesPerRequest: null } // BullMQ wants it for workers
  const c = target.persona === 'sentinel'
    ? new Redis({ sentinels: nodes, name: target.master, ...common })
    : new Redis({ ...nodes[0], ...common })
  c.on('error', () => {})
  return c
}

const queue = new Queue('jobs', { connection: open(), prefix: target.prefix })
queue.on('error', () => {})
const done = new Map()
const worker = new Worker('jobs', async job => {
  done.set(job.data.n, (done.get(job.data.n) ?? 0) + 1)
  say(`popped 0 ${job.data.n}`)
  await sleep(1)
}, { connection: open(), prefix: target.prefix, concurrency: 8, stalledInterval: 3000, lockDuration: 6000, maxStalledCount: 10 })
worker.on('error', () => {})

let next = 0
let added = 0
async function produce() {
  while (going() && next < 20000) {
    const n = next++
    for (let sure = false; !sure;) {
      try {
        await queue.add('job', { n }, { jobId: `job-${n}` }) // the same id again adds nothing
        say(`acked 0 ${n}`)
        added++
        sure = true
      } catch (err) {
        say(`error 0 add: ${err?.message ?? err}`)
        await sleep(20)
      }
    }
  }
}
await Promise.all(Array.from({ length: 8 }, produce))
for (let i = 0; i < 1200 && done.size < added; i++) await sleep(50)
await sleep(1000) // whatever is run again is seen
process.exit(0)
