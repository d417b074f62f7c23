// Reads streams of HTTP with llhttp, the parser of Node.js, and says what it found: a line of JSON in, a line out.
// First its version: {"version": "9.3.1"}
// In: {"kind": "request" | "response", "method": "GET", "bytes": base64}
// Out: {"messages": [{"start": [..], "fields": [[name, value], ..], "trailers": .., "content": base64}], "error": code | null}
'use strict'
const { HTTPParser, methods } = require('_http_common')

function read (kind, method, bytes) {
  const parser = new HTTPParser()
  const messages = []
  let message = null
  let early = []
  parser.initialize(kind === 'request' ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {})
  // More fields than fit one call, or trailers.
  parser[HTTPParser.kOnHeaders] = (fields) => {
    if (message) message.trailers.push(...fields)
    else early.push(...fields)
  }
  parser[HTTPParser.kOnHeadersComplete] = (major, minor, fields, methodNumber, url, status, reason) => {
    const start = kind === 'request'
      ? [`${major}.${minor}`, methods[methodNumber], url]
      : [`${major}.${minor}`, String(status), reason]
    message = { start, fields: [...early, ...(fields || [])], trailers: [], content: [] }
    early = []
    return kind === 'response' && (method === 'HEAD' || isEmptyByStatus(status)) ? 1 : 0
  }
  parser[HTTPParser.kOnBody] = (content) => { message.content.push(Buffer.from(content)) }
  parser[HTTPParser.kOnMessageComplete] = () => {
    messages.push(message)
    message = null
  }
  let result = parser.execute(bytes)
  if (!(result instanceof Error)) result = parser.finish()
  const error = result instanceof Error ? result.code : null
  return { messages: messages.map(render), error }
}

// llhttp before version 9 leaves it to its caller that some statuses have no content.
const isEmptyByStatus = (status) => parseInt(process.versions.llhttp) < 9 && (status < 200 || status === 204 || status === 304)

function render ({ start, fields, trailers, content }) {
  return { start: start.map(latin), fields: fields.map(latin), trailers: trailers.map(latin), content: Buffer.concat(content).toString('base64') }
}

// Values are strings of bytes.
const latin = (text) => Buffer.from(text || '', 'latin1').toString('base64')

process.stdout.write(JSON.stringify({ version: process.versions.llhttp }) + '\n')

require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { kind, method, bytes } = JSON.parse(line)
  process.stdout.write(JSON.stringify(read(kind, method, Buffer.from(bytes, 'base64'))) + '\n')
})
