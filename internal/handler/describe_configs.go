package handler

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/server"
)

// describeConfigs answers DescribeConfigs for topics, for this broker, and for the defaults of all brokers.
type describeConfigs struct {
	nodeID int32
	image  func() *catalog.Image
	config func() *config.Layers
}

func (h *describeConfigs) handle(_ context.Context, _ *server.Client, req *kmsg.DescribeConfigsRequest) *kmsg.DescribeConfigsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	unreadable := hasUnknownResource(req)
	for _, r := range req.Resources {
		result := kmsg.NewDescribeConfigsResponseResource()
		result.ResourceType, result.ResourceName = r.ResourceType, r.ResourceName
		result.ErrorMessage = kmsg.StringPtr("")
		entries, err := h.describe(r)
		if unreadable {
			entries, err = nil, plain(kerr.InvalidRequest)
		}
		if err != nil {
			result.ErrorCode, result.ErrorMessage = err.code.Code, err.message()
		}
		for _, e := range entries {
			result.Configs = append(result.Configs, entryOf(req, e))
		}
		resp.Resources = append(resp.Resources, result)
	}
	return resp
}

// hasUnknownResource tells whether a resource is of no type that Kafka knows; it then refuses the request as a whole.
func hasUnknownResource(req *kmsg.DescribeConfigsRequest) bool {
	for _, r := range req.Resources {
		switch r.ResourceType {
		case kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
			kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
		default:
			return true
		}
	}
	return false
}

func (h *describeConfigs) describe(r kmsg.DescribeConfigsRequestResource) ([]config.Entry, *apiError) {
	names := r.ConfigNames
	if len(names) == 0 {
		names = nil // all
	}
	switch r.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := catalog.ValidateName(r.ResourceName); err != nil {
			return nil, failure(kerr.InvalidTopicException, "%v", err)
		}
		topic, ok := h.image().Topic(r.ResourceName)
		if !ok {
			return nil, plain(kerr.UnknownTopicOrPartition)
		}
		return h.config().DescribeTopic(topic.Configs, names), nil
	case kmsg.ConfigResourceTypeBroker:
		if r.ResourceName == "" {
			return h.config().DescribeDefaults(names), nil
		}
		id, err := strconv.ParseInt(r.ResourceName, 10, 32)
		switch {
		case err != nil:
			return nil, failure(kerr.InvalidRequest, "Broker id must be an integer, but it is: %s", r.ResourceName)
		case int32(id) != h.nodeID:
			return nil, failure(kerr.InvalidRequest,
				"Unexpected broker id, expected %d or empty string, but received %s", h.nodeID, r.ResourceName)
		}
		return h.config().DescribeBroker(names), nil
	}
	return nil, unsupportedResource(r.ResourceType)
}

// entryOf is a config as the response has it. What a version does not have is not encoded.
func entryOf(req *kmsg.DescribeConfigsRequest, e config.Entry) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value = e.Name, e.Value
	c.ReadOnly, c.IsSensitive = e.ReadOnly, e.Sensitive
	c.Source = kmsg.ConfigSource(e.Source)
	c.IsDefault = e.Source == config.Default
	c.ConfigType = kmsg.ConfigType(e.Kind)
	if req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			synonym.Name, synonym.Value, synonym.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
			c.ConfigSynonyms = append(c.ConfigSynonyms, synonym)
		}
	}
	if req.IncludeDocumentation {
		c.Documentation = &e.Doc
	}
	return c
}
