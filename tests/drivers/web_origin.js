// The site behind the gateway: a page, an API, a WebSocket echo. Prints its port, then serves until it is killed.
'use strict'
const http = require('node:http')
const { WebSocketServer } = require('ws')

const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'Content-Type' }

// Answers that wait until the page has told everything: until then it is not loaded, and the browser stays.
const held = []

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://origin')
  if (url.pathname === '/page') {
    response.setHeader('Content-Type', 'text/html')
    return response.end(page(url.searchParams.get('gateway')))
  }
  if (request.method === 'OPTIONS') {
    response.writeHead(204, cors)
    return response.end()
  }
  if (url.pathname === '/echo') {
    // While it reads.
    response.writeHead(200, { ...cors, 'Content-Type': 'application/octet-stream' })
    return request.pipe(response)
  }
  if (url.pathname === '/held') {
    held.push(response)
    return
  }
  if (url.pathname === '/release') {
    held.splice(0).forEach((waiting) => waiting.end())
  }
  if (url.pathname === '/numbers') {
    // Without a length: chunks, one a turn.
    response.writeHead(200, { ...cors, Trailer: 'X-Count' })
    let count = 0
    const next = () => {
      if (count === 200) {
        response.addTrailers({ 'X-Count': '200' })
        return response.end()
      }
      response.write(`${count++}\n`, () => setImmediate(next))
    }
    return next()
  }
  response.writeHead(200, cors)
  response.end(`${request.method} ${request.url}`)
})

new WebSocketServer({ server, path: '/socket' }).on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
})

// What a frontend does, told in the page's text: it asks over the gateway, is refused, and reads why.
function page (gateway) {
  return `<!doctype html><title>frontend</title><pre id="told"></pre><img src="/held"><script>
    const told = (line) => { document.getElementById('told').textContent += line + '\\n' }
    const echo = () => new Promise((resolve, reject) => {
      const socket = new WebSocket('ws://${gateway}/socket')
      socket.onopen = () => socket.send('through the tunnel')
      socket.onmessage = (event) => { resolve(event.data); socket.close() }
      socket.onerror = () => reject(new Error('socket'))
    })
    async function main () {
      told('api: ' + await (await fetch('http://${gateway}/api/user')).text())
      const body = JSON.stringify({ name: 'x'.repeat(100000) })
      const posted = await fetch('http://${gateway}/echo', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } })
      told('echo: ' + ((await posted.text()) === body))
      told('numbers: ' + (await (await fetch('http://${gateway}/numbers')).text()).trim().split('\\n').length)
      told('socket: ' + await echo())
      const few = [await fetch('http://${gateway}/few'), await fetch('http://${gateway}/few')]
      told('few: ' + few.map((response) => response.status))
      told('detail: ' + (await few[1].json()).detail)
      told('retry: ' + (Number(few[1].headers.get('Retry-After')) >= 1))
    }
    main().then(() => told('done'), (error) => told('failed: ' + error)).then(() => fetch('/release'))
  </script>`
}

server.listen(0, '127.0.0.1', () => console.log(server.address().port))
