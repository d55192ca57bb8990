package broker

import (
	"math"
	"testing"
	"testing/fstest"
)

// files makes a file system of names and contents in turn.
func files(pairs ...string) fstest.MapFS {
	root := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		root[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return root
}

func TestFindMemory(t *testing.T) {
	const (
		meminfo = "MemTotal:       24683640 kB\nMemFree:        23658552 kB\n"
		total   = 24683640 << 10
		v2      = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
		v1      = "36 25 0:31 / /sys/fs/cgroup/memory rw,relatime shared:14 - cgroup cgroup rw,memory\n" +
			"35 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
		unlimited = "9223372036854771712\n"
	)
	base := []string{"proc/meminfo", meminfo}
	for _, test := range []struct {
		name             string
		files            []string
		goLimit, process int64
		want             memory
	}{
		{"nothing is known", nil, math.MaxInt64, 0, memory{}},
		{"a machine without control groups", base, math.MaxInt64, 0, memory{total, false, "/proc/meminfo"}},
		{"GOMEMLIMIT", base, 1 << 30, 0, memory{1 << 30, true, "GOMEMLIMIT"}},
		{"GOMEMLIMIT above what there is", base, total + 1, 0, memory{total, false, "/proc/meminfo"}},
		{"GOMEMLIMIT, and no machine", nil, 1 << 30, 0, memory{1 << 30, true, "GOMEMLIMIT"}},
		{"ulimit", base, math.MaxInt64, 1 << 29, memory{1 << 29, true, "ulimit -v"}},
		{"version 2, in a namespace of its own", append([]string{
			"proc/self/mountinfo", v2, "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "134217728\n"}, base...),
			math.MaxInt64, 0, memory{128 << 20, true, "/sys/fs/cgroup/memory.max"}},
		{"version 2, limited above", append([]string{
			"proc/self/mountinfo", v2, "proc/self/cgroup", "0::/user.slice/broker.service\n",
			"sys/fs/cgroup/user.slice/broker.service/memory.max", "max\n", "sys/fs/cgroup/user.slice/memory.max", "1000000\n"}, base...),
			math.MaxInt64, 0, memory{1000000, true, "/sys/fs/cgroup/user.slice/memory.max"}},
		{"version 2, without a limit", append([]string{
			"proc/self/mountinfo", v2, "proc/self/cgroup", "0::/a\n", "sys/fs/cgroup/a/memory.max", "max\n"}, base...),
			math.MaxInt64, 0, memory{total, false, "/proc/meminfo"}},
		{"version 2, a container that sees the host's path", append([]string{
			"proc/self/mountinfo", "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "proc/self/cgroup", "0::/docker/abc/inner\n",
			"sys/fs/cgroup/inner/memory.max", "2000000\n", "sys/fs/cgroup/memory.max", "3000000\n"}, base...),
			math.MaxInt64, 0, memory{2000000, true, "/sys/fs/cgroup/inner/memory.max"}},
		{"version 2, a path that cannot be seen", append([]string{
			"proc/self/mountinfo", v2, "proc/self/cgroup", "0::/../elsewhere\n", "sys/fs/cgroup/memory.max", "4000000\n"}, base...),
			math.MaxInt64, 0, memory{4000000, true, "/sys/fs/cgroup/memory.max"}},
		{"version 1", append([]string{
			"proc/self/mountinfo", v1, "proc/self/cgroup", "4:memory:/pods/one\n1:cpu,cpuacct:/\n",
			"sys/fs/cgroup/memory/pods/one/memory.limit_in_bytes", "5000000\n",
			"sys/fs/cgroup/memory/pods/memory.limit_in_bytes", "6000000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", unlimited}, base...),
			math.MaxInt64, 0, memory{5000000, true, "/sys/fs/cgroup/memory/pods/one/memory.limit_in_bytes"}},
		{"version 1, without a limit", append([]string{
			"proc/self/mountinfo", v1, "proc/self/cgroup", "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", unlimited}, base...),
			math.MaxInt64, 0, memory{total, false, "/proc/meminfo"}},
		{"both, and the lowest counts", append([]string{
			"proc/self/mountinfo", v1 + v2, "proc/self/cgroup", "4:memory:/a\n0::/b\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "7000000\n", "sys/fs/cgroup/b/memory.max", "8000000\n"}, base...),
			6000000, 0, memory{6000000, true, "GOMEMLIMIT"}},
		{"nonsense", append([]string{
			"proc/self/mountinfo", "- - -\nx\n\n" + v2, "proc/self/cgroup", "::\nx\n\n0::\n", "sys/fs/cgroup/memory.max", "lots\n"}, base...),
			math.MaxInt64, 0, memory{total, false, "/proc/meminfo"}},
		{"nonsense in meminfo", []string{"proc/meminfo", "MemTotal: -x kB\n"}, math.MaxInt64, 0, memory{}},
	} {
		got := findMemory(files(test.files...), test.goLimit, test.process)
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
