package sysmem

import (
	"math"
	"testing"
	"testing/fstest"
)

func TestTheLeastOfAllLimitsCounts(t *testing.T) {
	t.Parallel()
	const meminfo = "MemTotal:       16384000 kB\nMemFree:         1000 kB\n"
	const machine = 16384000 << 10
	for name, tc := range map[string]struct {
		files   map[string]string
		goLimit int64
		want    int64
	}{
		"nothing is known":         {nil, math.MaxInt64, 1 << 30},
		"GOMEMLIMIT alone":         {nil, 100 << 20, 100 << 20},
		"a machine":                {map[string]string{"proc/meminfo": meminfo}, math.MaxInt64, machine},
		"a machine, GOMEMLIMIT":    {map[string]string{"proc/meminfo": meminfo}, 1 << 30, 1 << 30},
		"an unreadable meminfo":    {map[string]string{"proc/meminfo": "MemTotal: lots\n"}, math.MaxInt64, 1 << 30},
		"cgroup 2, a container":    {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n"}, math.MaxInt64, 256 << 20},
		"cgroup 2, no limit":       {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a.slice\n", "sys/fs/cgroup/a.slice/memory.max": "max\n"}, math.MaxInt64, machine},
		"cgroup 2, a parent's":     {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b/c\n", "sys/fs/cgroup/a/memory.max": "1048576\n", "sys/fs/cgroup/a/b/c/memory.max": "9999999\n"}, math.MaxInt64, 1 << 20},
		"cgroup 1, a service":      {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "3:cpu,cpuacct:/x\n2:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "536870912\n"}, math.MaxInt64, 512 << 20},
		"cgroup 1, a container":    {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "2:memory:/docker/1234\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n"}, math.MaxInt64, 512 << 20},
		"cgroup 1, without limit":  {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "2:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, math.MaxInt64, machine},
		"a cgroup with GOMEMLIMIT": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n"}, 200 << 20, 200 << 20},
	} {
		files := fstest.MapFS{}
		for path, text := range tc.files {
			files[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := available(files, tc.goLimit); got != tc.want {
			t.Errorf("%s: %d bytes, want %d", name, got, tc.want)
		}
	}
	if n := Available(); n < 1<<20 {
		t.Errorf("this process may take %d bytes", n)
	}
}
