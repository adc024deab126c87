package main

import (
	"context"
	"io"
	"net"
	"time"
)

// balance accepts connections and gives each to the next of the addresses, byte for byte: the suite's client
// makes one for each request.
func balance(ctx context.Context, addrs []string) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go connect(client, addrs[n%len(addrs)])
		}
	}()
	return l.Addr().String(), nil
}

// connect joins a client's connection with one to addr, until both sides have ended.
func connect(client net.Conn, addr string) {
	defer client.Close()
	gateway, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return
	}
	defer gateway.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(gateway, client)
		_ = gateway.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, gateway)
	_ = client.(*net.TCPConn).CloseWrite()
	<-done
}
