// Package sysmem says how much memory this process may take.
package sysmem

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// unknown is taken for the machine's memory where the system does not tell.
const unknown = 1 << 30

// Available returns the bytes that this process may take: the least of the machine's memory, the limits of its cgroup
// and those above it (version 2 or 1), and GOMEMLIMIT. Where the system tells none of them, it is 1 GiB.
func Available() int64 {
	return available(os.DirFS("/"), debug.SetMemoryLimit(-1))
}

func available(root fs.FS, goLimit int64) int64 {
	least := min(machine(root), cgroups(root), goLimit)
	if least == math.MaxInt64 {
		return unknown
	}
	return least
}

// machine is MemTotal of /proc/meminfo.
func machine(root fs.FS) int64 {
	text, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return math.MaxInt64
}

// cgroups is the least limit of the process' cgroups. In a container of cgroup version 1 their path is the host's, while
// the container's own cgroup is mounted as the root: the root is looked at in any case.
func cgroups(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	text, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) != 3:
		case fields[0] == "0" && fields[1] == "":
			least = min(least, along(root, "sys/fs/cgroup", fields[2], "memory.max"))
		case strings.Contains(","+fields[1]+",", ",memory,"):
			least = min(least, along(root, "sys/fs/cgroup/memory", fields[2], "memory.limit_in_bytes"))
		}
	}
	return least
}

// along is the least limit in the named file of a cgroup and of those above it.
func along(root fs.FS, mount, group, file string) int64 {
	least := int64(math.MaxInt64)
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		text, _ := fs.ReadFile(root, path.Join(mount, dir, file))
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			least = min(least, n) // "max" is no number; version 1 writes a very large one
		}
		if dir == "/" {
			return least
		}
	}
}
