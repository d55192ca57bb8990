package handler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestListConfigResources(t *testing.T) {
	s := newStage(t)
	s.create("b", 1)
	s.create("a", 1)
	for _, test := range []struct {
		version int16
		types   []int8
		found   string
		want    *kerr.Error
	}{
		{0, nil, "", nil}, // client metrics
		{1, nil, "4:7 2:a 2:b", nil},
		{1, []int8{2}, "2:a 2:b", nil},
		{1, []int8{16, 4, 32, 4}, "4:7", nil},
		{1, []int8{2, 3}, "", kerr.UnsupportedVersion},
	} {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = test.types
		resp := s.ask(req, test.version).(*kmsg.ListConfigResourcesResponse)
		expectCode(t, fmt.Sprintf("%+v", test), resp.ErrorCode, test.want)
		var found []string
		for _, r := range resp.ConfigResources {
			found = append(found, fmt.Sprintf("%d:%s", r.Type, r.Name))
		}
		if got := strings.Join(found, " "); got != test.found {
			t.Errorf("%+v: got %s", test, got)
		}
	}
}
