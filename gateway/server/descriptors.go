package server

import (
	"fmt"
	"log/slog"

	"github.com/headgate/headgate/gateway/listener"
)

// descriptors is how the process's descriptors are shared out, and how many connections clients may have together.
type descriptors struct {
	limit   int // RLIMIT_NOFILE; 0: not known
	reserve int // for what is no connection of a client or to an app server: files, Redis, the admin listener
	wanted  int // server.max_connections
	clients int // connections of clients; 0: any number
}

// shareDescriptors leaves a quarter of a small limit, and 256 of a large one, as a reserve. Of the others half are for
// clients, unless the policy says otherwise: each may be waiting for an app server, on a connection of its own.
func shareDescriptors(limit, wanted int) descriptors {
	d := descriptors{limit: limit, reserve: min(limit/4, 256), wanted: wanted, clients: wanted}
	if limit == 0 {
		return d
	}
	room := max(limit-d.reserve, 1)
	if wanted == 0 {
		d.clients = max(room/2, 1)
	}
	d.clients = min(d.clients, room)
	return d
}

// adminReserve is how many descriptors of the reserve are kept open for the admin listener: what files or
// Redis have taken can't answer /livez.
func (d descriptors) adminReserve() int { return min(d.reserve, 16) }

// tell says in the log what clients may have, and why.
func (d descriptors) tell(log *slog.Logger) {
	switch {
	case d.clients == 0:
		log.Info("connections of clients are not bounded: the limit of open files is not known, and the policy has no server.max_connections")
	case d.clients < d.wanted:
		log.Warn("server.max_connections is more than there are descriptors for", "wanted", d.wanted, "max_connections", d.clients, "descriptors", d.limit, "reserve", d.reserve,
			"mend", fmt.Sprintf("raise the limit of open files (ulimit -n, LimitNOFILE=) to %d, or lower the key", 2*d.wanted+256))
	case d.wanted > 0:
		log.Info("connections of clients are bounded", "max_connections", d.clients, "by", "server.max_connections", "descriptors", d.limit, "reserve", d.reserve)
	default:
		log.Info("connections of clients are bounded", "max_connections", d.clients, "by", "descriptors", "descriptors", d.limit, "reserve", d.reserve)
	}
}

// knownDescriptors is how many descriptors the process may have; 0 where that is not known.
func knownDescriptors() int {
	if limit, known := listener.Descriptors(); known {
		return limit
	}
	return 0
}
