package broker

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// memory is how much memory the process may use.
type memory struct {
	bytes int64
	hard  bool   // who takes more is killed, or refused; else it is what the machine has
	from  string // what says so, for the log
}

// findMemory returns the lowest of the limits that there are: goLimit, the runtime's own (GOMEMLIMIT; none is
// math.MaxInt64), that of the process (RLIMIT_AS; 0 is none), and those of its control groups. Where there is none it is
// what the machine has; 0 where that is not known. Root is the root of the file system.
func findMemory(root fs.FS, goLimit, process int64) memory {
	least := memory{bytes: math.MaxInt64, hard: true}
	lower := func(bytes int64, from string) {
		if bytes > 0 && bytes < least.bytes {
			least.bytes, least.from = bytes, from
		}
	}
	lower(goLimit, goLimitName)
	lower(process, "ulimit -v")
	for _, dir := range cgroupDirs(root) {
		lower(readNumber(root, dir.path+"/"+dir.file), "/"+dir.path+"/"+dir.file)
	}
	total := readMemTotal(root)
	if least.bytes < noLimit && (total == 0 || least.bytes < total) {
		return least
	}
	if total == 0 {
		return memory{}
	}
	return memory{bytes: total, from: "/proc/meminfo"}
}

// goLimitName names the limit that is the Go runtime's own.
const goLimitName = "GOMEMLIMIT"

// noLimit is at or below what control groups of version 1 and the runtime say where there is no limit.
const noLimit = 1 << 60

// cgroupDir is the directory of a control group and the name of the file in it that holds the memory limit.
type cgroupDir struct{ path, file string }

// cgroupDirs returns the directories of the control groups that the process is in, from its own up to the highest that
// can be seen: each of them limits it. Both versions of control groups may be there at once.
func cgroupDirs(root fs.FS) (dirs []cgroupDir) {
	mounts := cgroupMounts(root)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil // there are no control groups
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		mount, file := mounts.unified, "memory.max"
		if parts[0] != "0" || parts[1] != "" {
			if !hasWord(parts[1], "memory") {
				continue
			}
			mount, file = mounts.memory, "memory.limit_in_bytes"
		}
		if mount.at == "" {
			continue
		}
		// In a container the path may be the host's, of which the mount shows a part.
		group := parts[2]
		if rest, below := strings.CutPrefix(group, mount.root); below && mount.root != "/" {
			group = rest
		}
		top := strings.TrimPrefix(mount.at, "/")
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			dirs = append(dirs, cgroupDir{path.Join(top, group), file})
			if group == "/" {
				break
			}
		}
	}
	return dirs
}

// mount is where a file system is mounted, and which of its directories.
type mount struct{ root, at string }

// cgroupMount are the hierarchies of control groups that can limit memory.
type cgroupMount struct {
	unified mount // version 2
	memory  mount // version 1, that with the memory controller
}

func cgroupMounts(root fs.FS) (found cgroupMount) {
	info, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return found
	}
	for lines := bufio.NewScanner(bytes.NewReader(info)); lines.Scan(); {
		// 30 23 0:26 /root /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw: see proc_pid_mountinfo(5)
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		m := mount{root: fields[3], at: fields[4]}
		switch {
		case kind[0] == "cgroup2":
			found.unified = m
		case kind[0] == "cgroup" && hasWord(kind[2], "memory"):
			found.memory = m
		}
	}
	return found
}

// hasWord tells whether a list with commas holds a word.
func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// readNumber returns the number that a file holds; 0 if it holds none, or "max".
func readNumber(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= noLimit {
		return 0
	}
	return int64(n)
}

// readMemTotal returns the memory of the machine; 0 if the system does not tell in Linux's way.
func readMemTotal(root fs.FS) int64 {
	info, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(info)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil || kib > noLimit>>10 {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
