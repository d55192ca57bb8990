package handler

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/server"
	"segue/protocol"
)

func apiVersionsRequest(change func(*kmsg.ApiVersionsRequest)) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "test-client", "1.2.3"
	if change != nil {
		change(req)
	}
	return req
}

func TestApiVersionsListsTheRows(t *testing.T) {
	s := newStage(t)
	for version := int16(0); version <= 5; version++ {
		resp := s.ask(apiVersionsRequest(nil), version).(*kmsg.ApiVersionsResponse)
		expectCode(t, "ApiVersions", resp.ErrorCode, nil)
		if len(resp.ApiKeys) != len(s.rows) {
			t.Errorf("v%d: %d APIs, want %d", version, len(resp.ApiKeys), len(s.rows))
		}
		last := int16(-1)
		for _, k := range resp.ApiKeys {
			row, ok := s.rows[k.ApiKey]
			if !ok || k.MinVersion != row.Advertise || k.MaxVersion != row.Max {
				t.Errorf("v%d: %s %d to %d, the row says %d to %d", version, kmsg.NameForKey(k.ApiKey), k.MinVersion, k.MaxVersion, row.Advertise, row.Max)
			}
			if k.ApiKey <= last {
				t.Errorf("v%d: API %d behind %d", version, k.ApiKey, last)
			}
			last = k.ApiKey
		}
		// Java clients ignore the features if the epoch is negative, and old ones fail at a level of 0 (KAFKA-17011).
		var supported []kmsg.ApiVersionsResponseSupportedFeature
		if version >= 4 {
			supported = []kmsg.ApiVersionsResponseSupportedFeature{{Name: "transaction.version", MaxVersion: 2}}
		}
		finalized := []kmsg.ApiVersionsResponseFinalizedFeature{{Name: "transaction.version", MaxVersionLevel: 2, MinVersionLevel: 2}}
		if version >= 3 && (resp.FinalizedFeaturesEpoch < 0 || !reflect.DeepEqual(resp.FinalizedFeatures, finalized) ||
			!reflect.DeepEqual(resp.SupportedFeatures, supported)) {
			t.Errorf("v%d: features %v and %v at epoch %d", version, resp.SupportedFeatures, resp.FinalizedFeatures, resp.FinalizedFeaturesEpoch)
		}
	}
	if got := s.client.Software(); got != (server.Software{Name: "test-client", Version: "1.2.3"}) {
		t.Errorf("the client's software is noted as %v", got)
	}
}

// KIP-511: a version that is not known is answered in version 0, with what to ask in.
func TestApiVersionsFallback(t *testing.T) {
	s := newStage(t)
	resp, err := s.try(&server.Request{
		Header: protocol.Header{Key: 18, Version: 9, CorrelationID: 5}, Client: s.client, Unsupported: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := resp.(*kmsg.ApiVersionsResponse)
	expectCode(t, "version 9", got.ErrorCode, kerr.UnsupportedVersion)
	if len(got.ApiKeys) != 1 || got.ApiKeys[0].ApiKey != 18 || got.ApiKeys[0].MinVersion != 0 || got.ApiKeys[0].MaxVersion != 5 {
		t.Errorf("APIs %+v, want ApiVersions 0 to 5", got.ApiKeys)
	}
}

func TestApiVersionsChecksTheClient(t *testing.T) {
	name := func(name, version string) func(*kmsg.ApiVersionsRequest) {
		return func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName, r.ClientSoftwareVersion = name, version }
	}
	meant := func(cluster *string, node int32) func(*kmsg.ApiVersionsRequest) {
		return func(r *kmsg.ApiVersionsRequest) { r.ClusterID, r.NodeID = cluster, node }
	}
	other, own := "another", clusterID
	tests := []struct {
		name    string
		version int16
		change  func(*kmsg.ApiVersionsRequest)
		want    *kerr.Error
	}{
		{"one letter", 3, name("a", "1"), nil},
		{"dots and hyphens inside", 3, name("apache-kafka.java", "4.0.0-rc1"), nil},
		{"no name", 3, name("", "1"), kerr.InvalidRequest},
		{"no version", 4, name("a", ""), kerr.InvalidRequest},
		{"a hyphen in front", 3, name("-a", "1"), kerr.InvalidRequest},
		{"a dot behind", 3, name("a", "1."), kerr.InvalidRequest},
		{"a space", 3, name("a b", "1"), kerr.InvalidRequest},
		{"a letter that is not ASCII", 3, name("a\u00e9a", "1"), kerr.InvalidRequest},
		{"an old version has no name to check", 2, name("", ""), nil},
		{"the right broker", 5, meant(&own, nodeID), nil},
		{"another cluster", 5, meant(&other, nodeID), kerr.RebootstrapRequired},
		{"another broker", 5, meant(&own, nodeID+1), kerr.RebootstrapRequired},
		{"a cluster without a broker", 5, meant(&own, -1), kerr.InvalidRequest},
		{"a broker without a cluster", 5, meant(nil, nodeID), kerr.InvalidRequest},
		{"neither", 5, meant(nil, -1), nil},
		{"another cluster in a version that does not say", 4, meant(&other, nodeID), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			resp := s.ask(apiVersionsRequest(test.change), test.version).(*kmsg.ApiVersionsResponse)
			expectCode(t, test.name, resp.ErrorCode, test.want)
			if (len(resp.ApiKeys) == 0) != (test.want != nil) {
				t.Errorf("%d APIs", len(resp.ApiKeys))
			}
			if test.want != nil && s.client.Software() != (server.Software{}) {
				t.Errorf("software of a client that was refused is noted: %v", s.client.Software())
			}
		})
	}
}
