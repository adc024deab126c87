"""An app server on Python's http.server, for origins_test.go, with the paths of app.mjs. Head and body are written, and arrive, apart."""
import gzip
import hashlib
import socket
import sys
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def pattern(token, n):
    return ((token + " ") * (n // (len(token) + 1) + 1))[:n].encode()


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, status=200, body=b"", **fields):
        self.send_response(status)
        self.send_header("X-Token", self.token)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def pieces(self):
        """The request's body. http.server leaves the chunked coding to its user."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            left = int(self.headers.get("Content-Length", 0))
            while left > 0:
                piece = self.rfile.read(min(left, 65536))
                if not piece:
                    return
                left -= len(piece)
                yield piece
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass

    def raw(self, text):
        self.wfile.write(text)
        self.close_connection = True

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def chunks(self, pieces, end=b"0\r\n\r\n", **fields):
        self.send_response(200)
        self.send_header("X-Token", self.token)
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            for piece in pieces:
                self.chunk(piece)
            self.wfile.write(end)

    def handle_any(self):
        self.token = self.headers.get("X-Token", "none")
        _, way, *arg = self.path.split("?")[0].split("/")
        self.arg = int(arg[0]) if arg else 0
        handler = getattr(self, "way_" + way, None)
        if way == "early":
            return handler()
        digest, length = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            length += len(piece)
        self.body = f"{length} {digest.hexdigest()}"
        if handler is None:
            return self.answer(404, b"nothing here")
        handler()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = handle_any

    def way_echo(self):
        self.answer(200, f"{self.command} {self.path} {self.token} {self.body}\n".encode())

    def way_status(self):
        self.answer(self.arg, f"status {self.arg}".encode())

    def way_bytes(self):
        self.answer(200, pattern(self.token, self.arg))

    def way_chunked(self):
        self.chunks(pattern(self.token, min(1000, left)) for left in range(self.arg, 0, -1000))

    def way_close(self):
        self.raw(f"HTTP/1.1 200 OK\r\nX-Token: {self.token}\r\nConnection: close\r\n\r\n".encode() + pattern(self.token, self.arg))

    def way_http10(self):
        self.raw(f"HTTP/1.0 200 OK\r\nX-Token: {self.token}\r\n\r\n".encode() + pattern(self.token, self.arg))

    def way_redirect(self):
        self.answer(302, b"moved", Location="/elsewhere?a=1&b=%20")

    def way_gzip(self):
        self.answer(200, gzip.compress(pattern(self.token, self.arg), mtime=0), Content_Encoding="gzip", Vary="Accept-Encoding")

    def way_range(self):
        whole = pattern(self.token, 1000)
        asked = self.headers.get("Range", "")
        if not asked.startswith("bytes="):
            return self.answer(200, whole)
        first, last = map(int, asked[6:].split("-"))
        if first >= len(whole):
            return self.answer(416, b"", Content_Range="bytes */1000")
        self.answer(206, whole[first:last + 1], Content_Range=f"bytes {first}-{last}/1000")

    def way_trailers(self):
        self.chunks([b"in pieces"], end=b"0\r\nX-Sum: 42\r\nX-More: a b\r\n\r\n", Trailer="X-Sum, X-More")

    def way_hints(self):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\n\r\n")
        self.answer(200, self.token.encode())

    def way_cookies(self):
        self.send_response(200)
        self.send_header("X-Token", self.token)
        for i in range(self.arg):
            self.send_header("Set-Cookie", f"c{i}=v{i}; Path=/; HttpOnly")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def way_latin1(self):
        self.answer(200, self.headers.get("X-Given", "").encode("latin1").hex().encode(), X_Name="caf\xe9 \xfc\xdf")

    def way_headers(self):
        self.answer(200, str(len(self.headers.get("X-Long", ""))).encode(), X_Long="y" * self.arg)

    def way_slow(self):
        def pieces():
            yield b"first "
            time.sleep(0.1)
            yield self.token.encode()
        self.chunks(pieces())

    def way_early(self):
        self.answer(403, b"no", Connection="close")
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_WR)
        while self.connection.recv(65536):  # closing now would take the answer back
            pass

    def way_abort(self):
        self.raw(f"HTTP/1.1 200 OK\r\nX-Token: {self.token}\r\nContent-Length: {self.arg}\r\n\r\nsome".encode())

    def way_abortchunks(self):
        self.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n")

    def way_aborthead(self):
        self.raw(b"HTTP/1.1 200 OK\r\nX-Some: th")

    def way_silence(self):
        self.close_connection = True

    def way_ws(self):
        key = self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.wfile.write(f"HTTP/1.1 101 Switching Protocols\r\nX-Token: {self.token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"\x81\x05early")
        while self.connection.recv(65536):
            self.wfile.write(b"\x81\x05hello")
        self.close_connection = True

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # clients leave


Server(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
