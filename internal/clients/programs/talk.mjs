// What all programs for Node.js share: the lines they say, and their load.

export const target = JSON.parse(process.argv[2])
export const key = name => `${target.prefix}:${name}`
export const say = line => process.stdout.write(line.replaceAll('\n', ' ') + '\n')
export const sleep = ms => new Promise(done => setTimeout(done, ms))

export const nodes = target.addrs.map(a => {
  const [host, port] = a.split(':')
  return { host, port: Number(port) }
})

let stopped = false
process.stdin.on('end', () => { stopped = true }).resume()
export const going = () => !stopped

// like throws unless both print alike.
export function like(expected, got) {
  const [a, b] = [JSON.stringify(expected), JSON.stringify(got)]
  if (a !== b) throw new Error(`expected ${a}, got ${b}`)
}

export async function check(name, run) {
  let timer
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error('takes too long')), 15000) })
  try {
    await Promise.race([run(), late])
    say(`ok ${name}`)
  } catch (err) {
    say(`fail ${name} ${err?.message ?? err}`)
  }
  clearTimeout(timer)
}

// load runs push, pop and subscribe of each client until standard input ends.
export async function load(clients) {
  const loops = []
  for (const [loop, c] of clients.entries()) {
    c.subscribe(`${target.prefix}:news`, id => say(`heard ${loop} ${id}`)).catch(err => say(`error ${loop} subscriber: ${err?.message}`))
    loops.push(pushes(loop, c), pops(loop, c))
  }
  say('load')
  await Promise.all(loops)
}

async function pushes(loop, c) {
  for (let n = 0; going(); n++) {
    try {
      await c.push(key(`acked:${loop}`), String(n))
      say(`acked ${loop} ${n}`)
      await sleep(2)
    } catch (err) {
      say(`error ${loop} push: ${err?.message ?? err}`)
      await sleep(20)
    }
  }
}

async function pops(loop, c) {
  while (going()) {
    try {
      const id = await c.pop(key(`queue:${loop}`))
      if (id !== null) say(`popped ${loop} ${id}`)
    } catch (err) {
      say(`error ${loop} pop: ${err?.message ?? err}`)
      await sleep(20)
    }
  }
}
