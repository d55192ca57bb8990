package protocol

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// golden is a request frame, without its size, that a client sent: recorded by a proxy before a broker of Apache
// Kafka 4.3.1. The files in testdata/requests have one API each; a line has version, client, and the frame in hex.
// franz-go stands for the versions that no recent client chooses: it was told to behave as for an older broker. Those
// that this broker of Kafka does not serve either (OffsetCommit 0 and 1, OffsetFetch 0) are what franz-go encodes.
type golden struct {
	file    string
	api     string
	version string
	client  string
	frame   []byte
}

func readGolden(t testing.TB) (all []golden) {
	t.Helper()
	files, err := filepath.Glob("testdata/requests/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden requests: %v", err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			words := strings.Fields(lines.Text())
			if len(words) != 3 {
				t.Fatalf("%s: %q is not version, client, hex", name, lines.Text())
			}
			frame, err := hex.DecodeString(words[2])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			api := strings.TrimSuffix(filepath.Base(name), ".txt")
			all = append(all, golden{file: name, api: api, version: words[0], client: words[1], frame: frame})
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = file.Close()
	}
	return all
}

// What real clients send is understood to the last byte, and encodes to the same bytes again.
func TestGoldenRequests(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range readGolden(t) {
		t.Run(g.api+"/"+g.version+"/"+g.client, func(t *testing.T) {
			h, body, err := ParseHeader(g.frame)
			if err != nil {
				t.Fatal(err)
			}
			if name := kmsg.NameForKey(h.Key); name != g.api || fmt.Sprintf("v%d", h.Version) != g.version {
				t.Fatalf("is a %s v%d", name, h.Version)
			}
			request, err := Decode(h, body)
			if err != nil {
				t.Fatal(err)
			}
			if again := append(request.AppendTo(nil), trailing(g)...); !bytes.Equal(again, body) {
				t.Fatalf("got  % x\nwant % x", again, body)
			}
			if h.Key == int16(kmsg.Produce) {
				checkGoldenProduce(t, h, body)
			}
		})
		seen[g.api] = true
	}
	for _, key := range []kmsg.Key{
		kmsg.ApiVersions, kmsg.Metadata, kmsg.Produce, kmsg.Fetch, kmsg.ListOffsets, kmsg.InitProducerID,
		kmsg.FindCoordinator, kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.DescribeConfigs, kmsg.DescribeCluster,
		kmsg.OffsetCommit, kmsg.OffsetFetch,
	} {
		if !seen[key.Name()] {
			t.Errorf("no golden request of %s", key.Name())
		}
	}
}

// trailing is what a client sends after the end of the body. librdkafka ends this one request with a section of
// tagged fields too many, which shows why such bytes have to be tolerated.
func trailing(g golden) string {
	if g.api == kmsg.AlterUserSCRAMCredentials.Name() && strings.HasPrefix(g.client, "librdkafka-") {
		return "\x00"
	}
	return ""
}

func checkGoldenProduce(t *testing.T, h Header, body []byte) {
	t.Helper()
	view, err := ParseProduce(h.Version, body)
	if err != nil {
		t.Fatal(err)
	}
	if got := viewed(h.Version, &view).AppendTo(nil); !bytes.Equal(got, body) {
		t.Fatalf("the view shows % x\nof               % x", got, body)
	}
}
