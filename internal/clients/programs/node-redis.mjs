import { createClient, createCluster, createSentinel, BasicClientSideCache, BasicPooledClientSideCache, defineScript } from 'redis'
import { target, nodes, key, check, like, say, load, sleep } from './talk.mjs'

const script = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `return redis.call('INCRBY', KEYS[1], ARGV[1]) -- ${target.prefix}`,
  parseCommand(parser, k, n) { parser.pushKey(k); parser.push(String(n)) },
  transformReply: undefined,
})

const all = []
async function open(i, more = {}) {
  const common = { RESP: target.proto, scripts: { addup: script }, ...more }
  let c
  switch (target.persona) {
    case 'cluster':
      // It looks for another master 5 s after it lost one, unless it is told otherwise.
      c = createCluster({ rootNodes: nodes.map(n => ({ socket: n })), topologyRefreshOnReconnectionAttemptStrategy: 500, ...common })
      break
    case 'sentinel':
      c = createSentinel({ name: target.master, sentinelRootNodes: nodes, masterPoolSize: 4, ...common })
      break
    default:
      c = createClient({ socket: nodes[i], ...common })
  }
  c.on('error', () => {}) // what matters is what commands answer
  await c.connect()
  all.push(c)
  return c
}

// together sends all commands before it waits for the first answer. The Sentinel client of
// 6.3 never answers if there are more of them than connections, whatever the server.
async function together(commands) {
  if (target.persona !== 'sentinel') return Promise.all(commands.map(f => f()))
  const replies = []
  for (const f of commands) replies.push(await f())
  return replies
}

async function checks(c) {
  const first = () => target.persona === 'cluster' ? c.nodeClient(c.masters[0]) : c
  await check('connect', async () => like('PONG', target.persona === 'cluster' ? await (await first()).ping() : await c.ping()))
  await check('strings', async () => {
    like('OK', await c.set(key('s'), 'a\r\n\0b', { expiration: { type: 'EX', value: 60 } }))
    like('a\r\n\0b', await c.get(key('s')))
    like(null, await c.get(key('none')))
    like(5, await c.incrBy(key('n'), 5))
    like(['5', null], await c.mGet([key('n'), key('none')]))
  })
  await check('big', async () => {
    const big = '0123456789'.repeat(300000)
    await c.set(key('big'), big)
    like(true, big === await c.get(key('big')))
  })
  await check('hashes', async () => {
    like(2, await c.hSet(key('h'), { a: 1, b: 2 }))
    like({ a: '1', b: '2' }, await c.hGetAll(key('h')))
  })
  await check('lists', async () => {
    like(3, await c.rPush(key('l'), ['a', 'b', 'c']))
    like(['a', 'b', 'c'], await c.lRange(key('l'), 0, -1))
    like('c', await c.lMove(key('l'), key('l2'), 'RIGHT', 'LEFT'))
  })
  await check('sets', async () => {
    like(2, await c.sAdd(key('set'), ['a', 'b']))
    like(['a', 'b'], [...await c.sMembers(key('set'))].sort())
  })
  await check('zsets', async () => {
    like(2, await c.zAdd(key('z'), [{ score: 1.5, value: 'a' }, { score: -1, value: 'b' }]))
    like([{ value: 'b', score: -1 }, { value: 'a', score: 1.5 }], await c.zRangeWithScores(key('z'), 0, -1))
  })
  await check('streams', async () => {
    await c.xGroupCreate(key('st'), 'g', '$', { MKSTREAM: true })
    const id = await c.xAdd(key('st'), '*', { f: 'v' })
    const got = await c.xReadGroup('g', 'c', { key: key('st'), id: '>' }, { BLOCK: 1000 })
    const messages = Array.isArray(got) ? got[0].messages : Object.values(got)[0]
    like(id, messages[0].id ?? messages[0][0])
    like(1, await c.xAck(key('st'), 'g', id))
  })
  await check('pipeline', async () => {
    const replies = await together(Array.from({ length: 300 }, (_, i) => [() => c.set(key('p'), i), () => c.get(key('p'))]).flat())
    for (let i = 0; i < 300; i++) like(String(i), replies[2 * i + 1])
  })
  await check('transaction', async () => {
    like(['OK', 2], await c.multi().set(key('tx'), '1').incr(key('tx')).exec())
  })
  if (target.persona === 'plain') {
    await check('watch', async () => {
      const w = await open(0)
      await w.watch(key('tx'))
      await c.incr(key('tx'))
      let lost = ''
      await w.multi().set(key('tx'), 'lost').exec().catch(err => { lost = err.constructor.name })
      like('WatchError', lost)
      w.destroy()
    })
  }
  await check('script', async () => {
    like(3, await c.addup(key('sc'), 3))
    like(6, await c.addup(key('sc'), 3))
  })
  await check('blocking', async () => {
    const b = await open(0)
    const got = b.blPop(key('bl'), 10)
    await sleep(50)
    await c.rPush(key('bl'), 'x')
    like({ key: key('bl'), element: 'x' }, await got)
    like(null, await b.blPop(key('bl'), 0.1))
    b.destroy()
  })
  await check('pubsub', async () => {
    const s = await open(0)
    let done
    const heard = new Promise(d => { done = d })
    await s.subscribe(key('ch'), m => done(m))
    await c.publish(key('ch'), 'hello')
    like('hello', await heard)
    s.destroy()
  })
  await check('scan', async () => {
    await together(Array.from({ length: 300 }, (_, i) => () => c.set(key(`scan${i}`), i)))
    const found = new Set()
    if (target.persona === 'sentinel') {
      await c.use(async one => { // an iterator needs one connection
        for (let cursor = '0'; ;) {
          const page = await one.scan(cursor, { MATCH: key('scan*'), COUNT: 20 })
          page.keys.forEach(k => found.add(k))
          if ((cursor = String(page.cursor)) === '0') break
        }
      })
    } else {
      for await (const page of (await first()).scanIterator({ MATCH: key('scan*'), COUNT: 20 })) page.forEach(k => found.add(k))
    }
    like(300, found.size)
  })
  if (target.proto === 2) {
    say('lacks caching in RESP2')
    return
  }
  await check('caching', async () => {
    const cache = target.persona === 'plain' ? new BasicClientSideCache({ maxEntries: 100 }) : new BasicPooledClientSideCache({ maxEntries: 100 })
    const cached = await open(nodes.length - 1, { clientSideCache: cache })
    await c.set(key('cached'), '1')
    // The node may apply the write after the key is tracked and before it is read: then
    // the first read's value is invalidated, as it would be if it were older.
    for (let i = 0; cache.stats().hitCount === 0; i++) {
      like('1', await cached.get(key('cached')))
      if (i > 200) throw new Error('nothing comes from the cache')
    }
    await c.set(key('cached'), '2') // through another node, where there is a choice
    for (let i = 0; ; i++) {
      if (await cached.get(key('cached')) === '2') break
      if (i > 200) throw new Error('the cache is not invalidated')
      await sleep(10)
    }
    cached.destroy()
  })
}

const loops = []
for (let i = 0; i < (target.persona === 'plain' ? nodes.length : 1); i++) {
  const [c, popper, listener] = [await open(i), await open(i), await open(i)]
  loops.push({
    c,
    push: (k, id) => c.rPush(k, id),
    pop: async k => (await popper.blPop(k, 1))?.element ?? null,
    subscribe: (channel, heard) => listener.subscribe(channel, heard),
  })
}
await checks(loops[0].c)
await load(loops)
all.forEach(c => { try { c.destroy() } catch { /* it is gone already */ } })
process.exit(0)
