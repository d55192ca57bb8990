package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/IBM/sarama"
)

// administer runs the verbs of the administrator.
func (d driver) administer(verb string) (err error) {
	admin, err := sarama.NewClusterAdmin(d.brokers, d.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	topic, partitions, configs := d.args["topic"], int32(d.number("partitions")), map[string]*string{}
	for name, value := range d.args {
		if strings.Contains(name, ".") {
			configs[name] = &value
		}
	}
	switch verb {
	case "create":
		return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}, false)
	case "describe":
		return d.describe(admin)
	case "alter":
		return d.alter(admin, configs)
	case "grow":
		return admin.CreatePartitions(topic, partitions, nil, false)
	case "delete":
		return admin.DeleteTopic(topic)
	}
	return fmt.Errorf("there is no verb %q", verb)
}

func (d driver) describe(admin sarama.ClusterAdmin) error {
	topics, err := admin.DescribeTopics([]string{d.args["topic"]})
	if err != nil {
		return err
	}
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: d.args["topic"]})
	if err != nil {
		return err
	}
	configs := map[string]string{}
	for _, e := range entries {
		configs[e.Name] = e.Value
	}
	return write(map[string]any{"partitions": len(topics[0].Partitions), "configs": configs})
}

// alter is incremental from the version of Kafka on that has it.
func (d driver) alter(admin sarama.ClusterAdmin, configs map[string]*string) error {
	if !d.config.Version.IsAtLeast(sarama.V2_3_0_0) {
		return admin.AlterConfig(sarama.TopicResource, d.args["topic"], configs, false)
	}
	changes := map[string]sarama.IncrementalAlterConfigsEntry{}
	for name, value := range configs {
		changes[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value}
	}
	return admin.IncrementalAlterConfig(sarama.TopicResource, d.args["topic"], changes, false)
}
