import Redis, { Cluster } from 'ioredis'
import { target, nodes, key, check, like, say, load, sleep } from './talk.mjs'

const all = []
function open(i) {
  const protocol = target.proto
  let c
  switch (target.persona) {
    case 'cluster': c = new Cluster(nodes, { redisOptions: { protocol } }); break
    case 'sentinel': c = new Redis({ sentinels: nodes, name: target.master, protocol }); break
    default: c = new Redis({ ...nodes[i], protocol })
  }
  c.on('error', () => {}) // what matters is what commands answer
  all.push(c)
  return c
}

async function checks(c) {
  await check('connect', async () => like('PONG', await c.ping()))
  await check('strings', async () => {
    like('OK', await c.set(key('s'), 'a\r\n\0b', 'EX', 60))
    like('a\r\n\0b', await c.get(key('s')))
    like(null, await c.get(key('none')))
    like(5, await c.incrby(key('n'), 5))
    like('7.5', await c.incrbyfloat(key('n'), 2.5))
    like(['7.5', null], await c.mget(key('n'), key('none')))
  })
  await check('big', async () => {
    const big = '0123456789'.repeat(300000)
    await c.set(key('big'), big)
    like(true, big === await c.get(key('big')))
  })
  await check('hashes', async () => {
    like(2, await c.hset(key('h'), { a: 1, b: 2 }))
    like({ a: '1', b: '2' }, await c.hgetall(key('h')))
    like(['1', null], await c.hmget(key('h'), 'a', 'z'))
  })
  await check('lists', async () => {
    like(3, await c.rpush(key('l'), 'a', 'b', 'c'))
    like(['a', 'b', 'c'], await c.lrange(key('l'), 0, -1))
    like('c', await c.lmove(key('l'), key('l2'), 'RIGHT', 'LEFT'))
  })
  await check('sets', async () => {
    like(2, await c.sadd(key('set'), 'a', 'b', 'a'))
    like(['a', 'b'], (await c.smembers(key('set'))).sort())
  })
  await check('zsets', async () => {
    like(2, await c.zadd(key('z'), 1.5, 'a', -1, 'b'))
    like(['b', 'a'], await c.zrange(key('z'), 0, -1))
    like('1.5', String(await c.zscore(key('z'), 'a')))
  })
  await check('streams', async () => {
    await c.xgroup('CREATE', key('st'), 'g', '$', 'MKSTREAM')
    const id = await c.xadd(key('st'), '*', 'f', 'v')
    const got = await c.xreadgroup('GROUP', 'g', 'c', 'BLOCK', 1000, 'STREAMS', key('st'), '>')
    const messages = Array.isArray(got) ? got[0][1] : Object.values(got)[0]
    like(id, messages[0][0])
    like(1, await c.xack(key('st'), 'g', id))
  })
  await check('pipeline', async () => {
    const p = c.pipeline()
    for (let i = 0; i < 300; i++) p.set(key('p'), i).get(key('p'))
    const replies = await p.exec()
    for (let i = 0; i < 300; i++) like([null, String(i)], replies[2 * i + 1])
  })
  await check('transaction', async () => {
    like([[null, 'OK'], [null, 2]], await c.multi().set(key('tx'), 1).incr(key('tx')).exec())
  })
  if (target.persona !== 'cluster') { // its WATCH would share a connection
    await check('watch', async () => {
      const w = c.duplicate()
      w.on('error', () => {})
      await w.watch(key('tx'))
      await c.incr(key('tx'))
      like(null, await w.multi().set(key('tx'), 'lost').exec())
      w.disconnect()
    })
  }
  await check('script', async () => {
    c.defineCommand('addup', { numberOfKeys: 1, lua: `return redis.call('INCRBY', KEYS[1], ARGV[1]) -- ${target.prefix}` })
    like(3, await c.addup(key('sc'), 3))
    like(6, await c.addup(key('sc'), 3))
  })
  await check('blocking', async () => {
    const b = open(0)
    const got = b.blpop(key('bl'), 10)
    await sleep(50)
    await c.rpush(key('bl'), 'x')
    like([key('bl'), 'x'], await got)
    like(null, await b.blpop(key('bl'), 0.1))
    b.disconnect()
  })
  await check('pubsub', async () => {
    const s = open(0)
    const heard = new Promise(done => s.on('message', (ch, m) => done(m)))
    await s.subscribe(key('ch'))
    await c.publish(key('ch'), 'hello')
    like('hello', await heard)
    s.disconnect()
  })
  await check('scan', async () => {
    const p = c.pipeline()
    for (let i = 0; i < 300; i++) p.set(key(`scan${i}`), i)
    await p.exec()
    const found = new Set()
    const masters = target.persona === 'cluster' ? c.nodes('master') : [c]
    for (const m of masters) {
      for await (const page of m.scanStream({ match: key('scan*'), count: 20 })) page.forEach(k => found.add(k))
    }
    like(300, found.size)
  })
  say('lacks caching no client-side cache of its own')
}

const loops = []
for (let i = 0; i < (target.persona === 'plain' ? nodes.length : 1); i++) {
  const [c, popper, listener] = [open(i), open(i), open(i)]
  loops.push({
    c,
    push: (k, id) => c.rpush(k, id),
    pop: async k => (await popper.blpop(k, 1))?.[1] ?? null,
    subscribe: async (channel, heard) => {
      listener.on('message', (_, m) => heard(m))
      await listener.subscribe(channel)
    },
  })
}
await checks(loops[0].c)
await load(loops)
all.forEach(c => c.disconnect())
process.exit(0)
