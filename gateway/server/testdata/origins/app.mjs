// An app server on node's http module, for origins_test.go. Each path answers in one way that HTTP/1.1 has; app.py has the same paths.
import http from 'node:http'
import zlib from 'node:zlib'
import { createHash } from 'node:crypto'

const pattern = (token, n) => Buffer.alloc(n, token + ' ')

// raw answers in node's place, and closes the connection.
const raw = (res, text) => res.socket.end(Buffer.from(text, 'latin1'))

const ways = {
  echo (req, res, { token }) {
    const hash = createHash('sha256')
    let length = 0
    req.on('data', piece => { hash.update(piece); length += piece.length })
    req.on('end', () => res.end(`${req.method} ${req.url} ${token} ${length} ${hash.digest('hex')}\n`))
  },
  status (req, res, { arg }) {
    res.statusCode = arg
    res.end(arg === 204 || arg === 304 ? undefined : `status ${arg}`)
  },
  bytes (req, res, { token, arg }) {
    res.setHeader('Content-Length', arg)
    res.end(pattern(token, arg))
  },
  chunked (req, res, { token, arg }) {
    for (let left = arg; left > 0; left -= 1000) res.write(pattern(token, Math.min(left, 1000)))
    res.end()
  },
  close (req, res, { token, arg }) {
    raw(res, `HTTP/1.1 200 OK\r\nX-Token: ${token}\r\nConnection: close\r\n\r\n` + pattern(token, arg).toString())
  },
  http10 (req, res, { token, arg }) {
    raw(res, `HTTP/1.0 200 OK\r\nX-Token: ${token}\r\n\r\n` + pattern(token, arg).toString())
  },
  redirect (req, res) { res.writeHead(302, { Location: '/elsewhere?a=1&b=%20' }).end('moved') },
  gzip (req, res, { token, arg }) {
    res.setHeader('Content-Encoding', 'gzip')
    res.setHeader('Vary', 'Accept-Encoding')
    res.end(zlib.gzipSync(pattern(token, arg)))
  },
  range (req, res, { token }) {
    const all = pattern(token, 1000)
    const asked = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range || '')
    if (!asked) return res.end(all)
    const [from, to] = [Number(asked[1]), Number(asked[2])]
    if (from >= all.length) return res.writeHead(416, { 'Content-Range': 'bytes */1000' }).end()
    res.writeHead(206, { 'Content-Range': `bytes ${from}-${to}/1000` }).end(all.subarray(from, to + 1))
  },
  trailers (req, res) {
    res.setHeader('Trailer', 'X-Sum, X-More')
    res.write('in pieces')
    res.addTrailers({ 'X-Sum': '42', 'X-More': 'a b' })
    res.end()
  },
  hints (req, res, { token }) {
    res.writeEarlyHints({ link: ['</a.css>; rel=preload; as=style', '</b.js>; rel=preload; as=script'] })
    res.end(token)
  },
  cookies (req, res, { arg }) {
    res.setHeader('Set-Cookie', Array.from({ length: arg }, (_, i) => `c${i}=v${i}; Path=/; HttpOnly`))
    res.end()
  },
  latin1 (req, res) {
    res.setHeader('X-Name', 'caf\xe9 \xfc\xdf')
    res.end(Buffer.from(req.headers['x-given'] || '', 'latin1').toString('hex'))
  },
  headers (req, res, { arg }) {
    res.setHeader('X-Long', 'y'.repeat(arg))
    res.end(String((req.headers['x-long'] || '').length))
  },
  slow (req, res, { token }) {
    res.write('first ')
    setTimeout(() => res.end(token), 100)
  },
  early (req, res) { res.writeHead(403).end('no') },
  abort (req, res, { arg }) {
    res.setHeader('Content-Length', arg)
    res.write('some')
    setTimeout(() => res.destroy(), 20)
  },
  abortchunks (req, res) {
    res.write('some')
    setTimeout(() => res.destroy(), 20)
  },
  aborthead (req, res) { raw(res, 'HTTP/1.1 200 OK\r\nX-Some: th') },
  silence (req, res) { res.destroy() }
}

const told = req => {
  const [, way, arg] = new URL(req.url, 'http://app').pathname.split('/')
  return { way, arg: Number(arg || 0), token: req.headers['x-token'] || 'none' }
}

const server = http.createServer((req, res) => {
  const order = told(req)
  res.setHeader('X-Token', order.token)
  const way = ways[order.way]
  if (!way) return res.writeHead(404).end('nothing here')
  way(req, res, order)
  if (order.way !== 'echo') req.resume()
})
server.on('upgrade', (req, socket) => {
  const accept = createHash('sha1').update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nX-Token: ${told(req).token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n\x81\x05early`)
  socket.on('data', () => socket.write('\x81\x05hello'))
  socket.on('error', () => {})
})
server.on('checkExpectation', (req, res) => { res.writeHead(417).end() })
server.listen(Number(process.argv[2]), '127.0.0.1')
