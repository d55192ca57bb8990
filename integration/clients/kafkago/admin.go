package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go"
)

// partitions is how many partitions the topic has.
func (d driver) partitions(ctx context.Context) (int, error) {
	metadata, err := d.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{d.args["topic"]}})
	if err != nil {
		return 0, err
	}
	return len(metadata.Topics[0].Partitions), metadata.Topics[0].Error
}

// configs are the arguments that are configs of topics.
func (d driver) configs() (entries []kafka.ConfigEntry) {
	for name, value := range d.args {
		if strings.Contains(name, ".") {
			entries = append(entries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
	}
	return entries
}

// administer runs the verbs of the administrator.
func (d driver) administer(ctx context.Context, verb string) error {
	topic, partitions := d.args["topic"], int(d.number("partitions"))
	switch verb {
	case "create":
		created, err := d.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
			Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: d.configs(),
		}}})
		if err != nil {
			return err
		}
		return created.Errors[topic]
	case "describe":
		return d.describe(ctx)
	case "alter":
		return d.alter(ctx)
	case "grow":
		grown, err := d.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(partitions)}},
		})
		if err != nil {
			return err
		}
		return grown.Errors[topic]
	case "delete":
		deleted, err := d.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		return deleted.Errors[topic]
	}
	return fmt.Errorf("there is no verb %q", verb)
}

func (d driver) describe(ctx context.Context) error {
	partitions, err := d.partitions(ctx)
	if err != nil {
		return err
	}
	described, err := d.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: d.args["topic"]}},
	})
	if err != nil {
		return err
	}
	configs := map[string]string{}
	for _, e := range described.Resources[0].ConfigEntries {
		configs[e.ConfigName] = e.ConfigValue
	}
	return errors.Join(described.Resources[0].Error, write(map[string]any{"partitions": partitions, "configs": configs}))
}

func (d driver) alter(ctx context.Context) error {
	var changes []kafka.IncrementalAlterConfigsRequestConfig
	for _, e := range d.configs() {
		changes = append(changes, kafka.IncrementalAlterConfigsRequestConfig{
			Name: e.ConfigName, Value: e.ConfigValue, ConfigOperation: kafka.ConfigOperationSet,
		})
	}
	altered, err := d.client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: d.args["topic"], Configs: changes,
		}},
	})
	if err != nil {
		return err
	}
	return altered.Resources[0].Error
}
