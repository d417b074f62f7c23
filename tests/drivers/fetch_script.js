// node's fetch and a WebSocket client through a gateway: many at once over kept connections, streams both ways, refusals.
'use strict'
const assert = require('node:assert/strict')
const WebSocket = require('ws')

const gateway = process.env.GATEWAY
const at = (path) => `http://${gateway}${path}`

async function plain () {
  const texts = await Promise.all(Array.from({ length: 200 }, async (_, n) => (await fetch(at(`/api/${n}`))).text()))
  assert.deepEqual(texts, Array.from({ length: 200 }, (_, n) => `GET /api/${n}`))
  assert.equal((await fetch(at('/api'), { method: 'HEAD' })).status, 200)
}

async function streams () {
  const body = 'y'.repeat(3_000_000)
  const whole = await fetch(at('/echo'), { method: 'POST', body })
  assert.equal(await whole.text(), body)
  const pieces = new ReadableStream({
    start (controller) {
      for (let n = 0; n < 100; n++) controller.enqueue(new TextEncoder().encode(`${n};`))
      controller.close()
    }
  })
  const chunked = await fetch(at('/echo'), { method: 'PUT', body: pieces, duplex: 'half' })
  assert.equal(await chunked.text(), Array.from({ length: 100 }, (_, n) => `${n};`).join(''))
  // Both directions at once, more than any buffer on the way holds.
  const megabyte = new Uint8Array(1 << 20).fill(7)
  let left = 8
  const large = new ReadableStream({
    pull (controller) {
      if (left-- > 0) controller.enqueue(megabyte)
      else controller.close()
    }
  })
  const echo = await fetch(at('/echo'), { method: 'POST', body: large, duplex: 'half' })
  let length = 0
  for await (const piece of echo.body) {
    assert.ok(piece.every((byte) => byte === 7))
    length += piece.length
  }
  assert.equal(length, 8 << 20)
  const numbers = await (await fetch(at('/numbers'))).text()
  assert.equal(numbers.trim().split('\n').length, 200)
}

async function refused () {
  const statuses = []
  for (let n = 0; n < 3; n++) {
    const response = await fetch(at('/few'))
    statuses.push(response.status)
    if (!response.ok) assert.match(await response.text(), /Request queue is full/)
  }
  assert.deepEqual(statuses, [200, 503, 503])
}

function socket (marker) {
  return new Promise((resolve, reject) => {
    const client = new WebSocket(`ws://${gateway}/socket`)
    const sent = Array.from({ length: 50 }, (_, n) => `${marker}/${n}/${'z'.repeat(n * 100)}`)
    const heard = []
    client.on('open', () => sent.forEach((text) => client.send(text)))
    client.on('message', (data) => {
      heard.push(data.toString())
      if (heard.length === sent.length) client.close()
    })
    client.on('close', () => resolve(assert.deepEqual(heard, sent)))
    client.on('error', reject)
  })
}

async function main () {
  await plain()
  await streams()
  await refused()
  await Promise.all(Array.from({ length: 20 }, (_, n) => socket(n)))
  console.log('all assertions held')
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
