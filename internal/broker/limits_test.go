package broker

import "testing"

func TestLimitsFor(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	cgroup := func(bytes int64) memory { return memory{bytes, true, "/sys/fs/cgroup/memory.max"} }
	for _, test := range []struct {
		name        string
		memory      memory
		descriptors int
		processors  int
		set         wishes
		want        limits
	}{
		{"128 MiB", cgroup(128 * mib), 20_000, 2, wishes{}, limits{
			runtime: 107374160, connections: 385, partitions: 1157, requestBytes: 11848906, answerBytes: 11848906,
			sessionParts: 2314, unpackBytes: 11848906, unpackTurns: 1, openFiles: maxOpenFiles, keyBytes: 947912,
		}},
		{"512 MiB", cgroup(512 * mib), 20_000, 2, wishes{}, limits{
			runtime: 429496720, connections: 1696, partitions: 5089, requestBytes: 52114226, answerBytes: 52114226,
			sessionParts: 10178, unpackBytes: 52114226, unpackTurns: 1, openFiles: maxOpenFiles, keyBytes: 4169138,
		}},
		{"24 GiB", cgroup(24 * gib), 1_000_000, 8, wishes{}, limits{
			runtime: 20615842960, connections: 83834, partitions: 251504, requestBytes: gib, answerBytes: gib,
			sessionParts: 503009, unpackBytes: 256 * mib, unpackTurns: 8, openFiles: maxOpenFiles, keyBytes: 206032600,
		}},
		{"24 GiB, few descriptors", cgroup(24 * gib), 1024, 2, wishes{}, limits{
			runtime: 20615842960, connections: 1024 - 512 - spareFiles, partitions: 251504, requestBytes: gib, answerBytes: gib,
			sessionParts: 503009, unpackBytes: 256 * mib, unpackTurns: 2, openFiles: 512, keyBytes: 206032600,
		}},
		{"a machine of 24 GiB", memory{24 * gib, false, "/proc/meminfo"}, 20_000, 2, wishes{}, limits{
			connections: 20_000 - maxOpenFiles - spareFiles, partitions: 157132, requestBytes: gib, answerBytes: gib,
			sessionParts: 314265, unpackBytes: 256 * mib, unpackTurns: 2, openFiles: maxOpenFiles, keyBytes: 128723189,
		}},
		{"a runtime that has its limit", memory{128 * mib, true, "GOMEMLIMIT"}, 20_000, 2, wishes{}, limits{
			connections: 494, partitions: 1484, requestBytes: 15204352, answerBytes: 15204352,
			sessionParts: 2969, unpackBytes: 15204352, unpackTurns: 1, openFiles: maxOpenFiles, keyBytes: 1216348,
		}},
		{"what is set counts", cgroup(128 * mib), 20_000, 2, wishes{connections: 5000, partitions: 20_000, requestBytes: 50 * mib}, limits{
			runtime: 107374160, connections: 5000, partitions: 20_000, requestBytes: 50 * mib, answerBytes: 11848906,
			sessionParts: 2314, unpackBytes: 11848906, unpackTurns: 1, openFiles: maxOpenFiles, keyBytes: 947912,
		}},
		{"but not above the descriptors", cgroup(128 * mib), 1000, 2, wishes{connections: 5000}, limits{
			runtime: 107374160, connections: 1000 - 500 - spareFiles, partitions: 1157, requestBytes: 11848906, answerBytes: 11848906,
			sessionParts: 2314, unpackBytes: 11848906, unpackTurns: 1, openFiles: 500, keyBytes: 947912,
		}},
		{"hardly anything", cgroup(8 * mib), 64, 1, wishes{}, limits{
			runtime: 6710880, connections: minConnections, partitions: minPartitions, requestBytes: minRequests, answerBytes: minAnswers,
			sessionParts: minSessions, unpackBytes: minUnpack, unpackTurns: 1, openFiles: minOpenFiles, keyBytes: minKeys,
		}},
		{"not known", memory{}, 20_000, 2, wishes{}, limits{
			connections: 4317, partitions: 12953, requestBytes: 132644864, answerBytes: 132644864,
			sessionParts: 25907, unpackBytes: 132644864, unpackTurns: 1, openFiles: maxOpenFiles, keyBytes: 10611589,
		}},
	} {
		if got := limitsFor(test.memory, test.descriptors, test.processors, test.set); got != test.want {
			t.Errorf("%s:\n got %+v\nwant %+v", test.name, got, test.want)
		}
	}
}

// What may be taken at one time, all limits reached, stays below what there is, with room for garbage.
func TestLimitsAddUp(t *testing.T) {
	for _, mib := range []int64{96, 128, 256, 512, 1 << 10, 4 << 10, 64 << 10} {
		l := limitsFor(memory{mib << 20, true, "a test"}, 1<<20, 4, wishes{})
		taken := baseCost + int64(l.connections)*connectionCost + int64(l.partitions)*partitionCost + l.requestBytes*5/4 + l.answerBytes +
			int64(l.unpackTurns)*int64(l.unpackBytes)*4/3 + int64(l.sessionParts)*sessionCost + l.keyBytes
		if taken > l.runtime*91/100 || l.runtime > mib<<20*9/10 {
			t.Errorf("%d MiB: %d MiB may be taken of the runtime's %d", mib, taken>>20, l.runtime>>20)
		}
	}
}
