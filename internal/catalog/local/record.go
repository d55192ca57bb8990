package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"segue/internal/catalog"
)

// A record of the log has no key; its value is a JSON object with a type, the version of that type's form, and the
// fields of that form:
//
//	{"type":"CreateTopic","version":1,"name":"orders","id":"wBPXRaMiTCCjsTHjFQRr-A","partitions":3,"replicationFactor":1}
//
// A batch holds either the changes of one commit, or a snapshot: a record of type Snapshot, then the topics, the
// deleted topics and the broker configs that it counts. Whatever is not known here, be it a type, a version or a
// field, was written by a later version of the broker, and is refused: to pass it over would be to forget a fact.

// maxRecordBytes bounds a record's value: the most configs that a topic may have, with every byte of them escaped.
const maxRecordBytes = 8 << 20

// formVersion is the version of every form so far.
const formVersion = 1

type form struct {
	Type    string `json:"type"`
	Version int    `json:"version"`
}

type topicForm struct {
	form
	Name              string            `json:"name"`
	ID                string            `json:"id"`
	Partitions        int32             `json:"partitions"`
	ReplicationFactor int16             `json:"replicationFactor"`
	Internal          bool              `json:"internal,omitempty"`
	Configs           map[string]string `json:"configs,omitempty"`
}

type idForm struct {
	form
	ID string `json:"id"`
}

type topicConfigsForm struct {
	form
	ID      string            `json:"id"`
	Configs map[string]string `json:"configs"`
}

type partitionsForm struct {
	form
	ID         string `json:"id"`
	Partitions int32  `json:"partitions"`
}

type brokerConfigsForm struct {
	form
	Broker  string            `json:"broker"`
	Configs map[string]string `json:"configs"`
}

type startForm struct {
	form
	ClusterID string `json:"clusterId"`
}

type surpassForm struct {
	form
	LeaderEpoch int32 `json:"leaderEpoch"`
	ProducerID  int64 `json:"producerId"`
}

type producerIDsForm struct {
	form
	Count int64 `json:"count"`
}

type featureForm struct {
	form
	Name  string `json:"name"`
	Level int16  `json:"level"`
}

type snapshotForm struct {
	form
	Image          int64  `json:"image"` // its version
	ClusterID      string `json:"clusterId"`
	StartCount     int32  `json:"startCount"`
	NextProducerID int64  `json:"nextProducerId"`
	Topics         int    `json:"topics"`        // how many SnapshotTopic follow
	Deleting       int    `json:"deleting"`      // then how many SnapshotDeletedTopic
	BrokerConfigs  int    `json:"brokerConfigs"` // then how many SnapshotBrokerConfigs
	// Features are the versions that were set.
	Features map[string]int16 `json:"features,omitempty"`
}

// The types of records.
const (
	typeCreateTopic        = "CreateTopic"
	typeDeleteTopic        = "DeleteTopic"
	typePurgeTopic         = "PurgeTopic"
	typeSetTopicConfigs    = "SetTopicConfigs"
	typeSetPartitions      = "SetPartitions"
	typeSetBrokerConfigs   = "SetBrokerConfigs"
	typeStart              = "Start"
	typeSurpass            = "Surpass"
	typeReserveProducerIDs = "ReserveProducerIDs"
	typeSetFeature         = "SetFeature"

	typeSnapshot              = "Snapshot"
	typeSnapshotTopic         = "SnapshotTopic"
	typeSnapshotDeletedTopic  = "SnapshotDeletedTopic"
	typeSnapshotBrokerConfigs = "SnapshotBrokerConfigs"
)

func named(name string) form { return form{Type: name, Version: formVersion} }

// encodeChange writes the record of a change.
func encodeChange(change catalog.Change) ([]byte, error) {
	switch c := change.(type) {
	case catalog.CreateTopic:
		return json.Marshal(topicForm{named(typeCreateTopic), c.Name, catalog.FormatID(c.ID), c.Partitions, c.ReplicationFactor, c.Internal, c.Configs})
	case catalog.DeleteTopic:
		return json.Marshal(idForm{named(typeDeleteTopic), catalog.FormatID(c.ID)})
	case catalog.PurgeTopic:
		return json.Marshal(idForm{named(typePurgeTopic), catalog.FormatID(c.ID)})
	case catalog.SetTopicConfigs:
		return json.Marshal(topicConfigsForm{named(typeSetTopicConfigs), catalog.FormatID(c.ID), c.Configs})
	case catalog.SetPartitions:
		return json.Marshal(partitionsForm{named(typeSetPartitions), catalog.FormatID(c.ID), c.Partitions})
	case catalog.SetBrokerConfigs:
		return json.Marshal(brokerConfigsForm{named(typeSetBrokerConfigs), c.Broker, c.Configs})
	case catalog.Start:
		return json.Marshal(startForm{named(typeStart), c.ClusterID})
	case catalog.Surpass:
		return json.Marshal(surpassForm{named(typeSurpass), c.LeaderEpoch, c.ProducerID})
	case catalog.ReserveProducerIDs:
		return json.Marshal(producerIDsForm{named(typeReserveProducerIDs), c.Count})
	case catalog.SetFeature:
		return json.Marshal(featureForm{named(typeSetFeature), c.Name, c.Level})
	}
	return nil, fmt.Errorf("no record is defined for a change of type %T", change)
}

func encodeTopic(name string, t *catalog.Topic) ([]byte, error) {
	return json.Marshal(topicForm{named(name), t.Name, catalog.FormatID(t.ID), t.Partitions, t.ReplicationFactor, t.Internal, t.Configs})
}

// decodeForm returns the type of a record, if its version is one that is understood here.
func decodeForm(value []byte) (string, error) {
	if len(value) > maxRecordBytes {
		return "", fmt.Errorf("a record of %d bytes is longer than any that is written", len(value))
	}
	var f form
	if err := json.Unmarshal(value, &f); err != nil {
		return "", fmt.Errorf("a record is not a JSON object with type and version: %w", err)
	}
	switch {
	case f.Type == "":
		return "", fmt.Errorf("a record has no type")
	case f.Version > formVersion:
		return "", fmt.Errorf("a record of type %.40q has version %d, and this broker understands up to %d: "+
			"the data was written by a later version of the broker, so start that one", f.Type, f.Version, formVersion)
	case f.Version < 1:
		return "", fmt.Errorf("a record of type %.40q has version %d, which there never was", f.Type, f.Version)
	}
	return f.Type, nil
}

// decodeInto reads a record into the form of its type, and refuses fields that the form does not have.
func decodeInto(value []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the object")
	}
	return nil
}

// decodeChange reads the record of a change.
func decodeChange(value []byte) (catalog.Change, error) {
	name, err := decodeForm(value)
	if err != nil {
		return nil, err
	}
	change, err := decodeFields(name, value)
	if err != nil {
		return nil, fmt.Errorf("a record of type %.40q: %w", name, err)
	}
	return change, nil
}

func decodeFields(name string, value []byte) (catalog.Change, error) {
	switch name {
	case typeCreateTopic:
		t, err := decodeTopic(value)
		return catalog.CreateTopic(t), err
	case typeDeleteTopic, typePurgeTopic:
		var f idForm
		if err := decodeInto(value, &f); err != nil {
			return nil, err
		}
		id, err := catalog.ParseID(f.ID)
		if name == typePurgeTopic {
			return catalog.PurgeTopic{ID: id}, err
		}
		return catalog.DeleteTopic{ID: id}, err
	case typeSetTopicConfigs:
		var f topicConfigsForm
		if err := decodeInto(value, &f); err != nil {
			return nil, err
		}
		id, err := catalog.ParseID(f.ID)
		return catalog.SetTopicConfigs{ID: id, Configs: f.Configs}, err
	case typeSetPartitions:
		var f partitionsForm
		if err := decodeInto(value, &f); err != nil {
			return nil, err
		}
		id, err := catalog.ParseID(f.ID)
		return catalog.SetPartitions{ID: id, Partitions: f.Partitions}, err
	case typeSetBrokerConfigs:
		var f brokerConfigsForm
		err := decodeInto(value, &f)
		return catalog.SetBrokerConfigs{Broker: f.Broker, Configs: f.Configs}, err
	case typeStart:
		var f startForm
		err := decodeInto(value, &f)
		return catalog.Start{ClusterID: f.ClusterID}, err
	case typeSurpass:
		var f surpassForm
		err := decodeInto(value, &f)
		return catalog.Surpass{LeaderEpoch: f.LeaderEpoch, ProducerID: f.ProducerID}, err
	case typeReserveProducerIDs:
		var f producerIDsForm
		err := decodeInto(value, &f)
		return catalog.ReserveProducerIDs{Count: f.Count}, err
	case typeSetFeature:
		var f featureForm
		err := decodeInto(value, &f)
		return catalog.SetFeature{Name: f.Name, Level: f.Level}, err
	}
	return nil, fmt.Errorf("this broker does not know the type: the data was written by a later version, so start that one")
}

func decodeTopic(value []byte) (catalog.Topic, error) {
	var f topicForm
	if err := decodeInto(value, &f); err != nil {
		return catalog.Topic{}, err
	}
	id, err := catalog.ParseID(f.ID)
	if len(f.Configs) == 0 {
		f.Configs = nil // as it is where the field is left out
	}
	return catalog.Topic{
		Name: f.Name, ID: id, Partitions: f.Partitions, ReplicationFactor: f.ReplicationFactor, Internal: f.Internal, Configs: f.Configs,
	}, err
}
