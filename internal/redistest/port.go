package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports lie below the range from which Linux (32768 and up) and macOS (49152 and up)
// take the ports of outgoing connections and of ":0" listeners. Nobody gets ours by
// chance while a test keeps its server down.
//
// Even ports serve Redis. The odd one above is the claim to it, see [claimPort]. A
// cluster's bus is 10000 above its node's port, as in every Redis.
const (
	firstPort = 11000
	lastPort  = 20998
	busOffset = 10000
)

// claimPort finds a free port and a claim to it, to be closed by the owner.
//
// The claim is an open listener on the port's odd neighbour. It keeps all other test
// processes off the port, also while its server is stopped, and ends with this process
// without leaving anything behind.
func claimPort() (port int, claim net.Listener, err error) {
	for range 200 {
		port = firstPort + 2*rand.IntN((lastPort-firstPort)/2+1)
		claim, err = net.Listen("tcp", loopback(port+1))
		if err != nil {
			continue
		}
		if err = errors.Join(free(port), free(port+busOffset)); err == nil {
			return port, claim, nil
		}
		claim.Close()
	}
	return 0, nil, fmt.Errorf("redistest: no free port between %d and %d: %w", firstPort, lastPort, err)
}

func free(port int) error {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return err
	}
	return l.Close()
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
