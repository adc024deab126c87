package proxy

import (
	"net"
	"syscall"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

// lossTimeout is how long what has been sent on an HTTP/2 connection may stay unacknowledged by the server's system. Without it a server that is lost,
// as behind a cut cable, would keep taking requests for a quarter of an hour.
const lossTimeout = 30 * time.Second

const tcpUserTimeout = 0x12 // TCP_USER_TIMEOUT, RFC 5482

// boundLoss has the kernel close a connection of which the other end is lost.
func boundLoss(nc net.Conn) {
	if records, ok := nc.(*http1client.Records); ok {
		nc = records.Conn
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	if socket, err := tcp.SyscallConn(); err == nil {
		_ = socket.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(lossTimeout.Milliseconds()))
		})
	}
}
