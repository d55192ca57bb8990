package oracle

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A tree is an answer as it is written and compared: map[string]any, []any, string, json.Number, bool or nil. A field that
// has its default is left out, so that versions that do not have it, and those that do, look alike.

// tree returns an answer's tree.
func (n *names) tree(resp kmsg.Response) any {
	return n.structure(reflect.ValueOf(resp).Elem())
}

// ownValues are the settings that no two brokers share, or whose text Kafka puts together in any order.
var ownValues = []string{"advertised.listeners", "controller.quorum.voters", "listener.security.protocol.map", "listeners", "log.dirs"}

// structure is the tree of a structure.
func (n *names) structure(v reflect.Value) any {
	fields := map[string]any{}
	defaults := reflect.New(v.Type())
	if d, ok := defaults.Interface().(interface{ Default() }); ok {
		d.Default()
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "Version" || name == "UnknownTags" || name == "CoordinatorEpoch" && n.isFirst(v.Field(i).Int()) || reflect.DeepEqual(v.Field(i).Interface(), defaults.Elem().Field(i).Interface()) {
			continue
		}
		fields[name] = n.field(v.Type().Name(), name, v.Field(i))
	}
	if setting, ok := fields["Name"].(string); ok && fields["Value"] != nil && slices.Contains(ownValues, setting) {
		fields["Value"] = "<its own>"
	}
	return fields
}

// field is the tree of a field, by its name where that says more than its type.
func (n *names) field(parent, name string, v reflect.Value) any {
	switch name {
	case "ErrorCode":
		return codeName(int16(v.Int()))
	case "ErrorMessage", "Documentation":
		return someText(v)
	case "Port":
		if int32(v.Int()) == n.port {
			return "<port>"
		}
	case "FinalizedFeaturesEpoch":
		return "<epoch>" // it counts changes of the metadata, which have no meaning elsewhere
	case "Dir":
		return "<log dir>"
	case "TotalBytes", "UsableBytes":
		return "<bytes>"
	case "ClusterID":
		return "<cluster>"
	case "RecordBatches":
		return n.batches(v.Bytes())
	case "SessionID":
		return n.number("session", v.Int())
	case "ProducerID":
		if shown, ok := n.known("producer", v.Int()); ok {
			return shown
		} else if parent == "InitProducerIDResponse" {
			return n.number("producer", v.Int())
		}
	}
	if strings.HasSuffix(name, "LeaderEpoch") || name == "CoordinatorEpoch" || parent == "FetchResponseTopicPartitionDivergingEpoch" && name == "Epoch" || name == "CurrentLeader" && v.Kind() == reflect.Int32 {
		return n.leaderEpoch(int32(v.Int()))
	}
	if v.Kind() == reflect.Int64 && (strings.Contains(name, "Timestamp") || strings.HasSuffix(name, "Time")) && recent(v.Int()) {
		return "<now>"
	}
	return n.value(name, v)
}

// isFirst says whether an epoch is that of the first leader, which looks like a field's default.
func (n *names) isFirst(epoch int64) bool { return compact(n.leaderEpoch(int32(epoch))) == "0" }

// leaderEpoch counts epochs from that of a new topic, and by restarts, at which brokers skip some or do not.
func (n *names) leaderEpoch(epoch int32) any {
	shown := epoch
	if epoch >= n.epoch {
		shown -= n.epoch
	}
	for i, start := range n.later {
		if epoch >= start {
			shown = int32(i) + 1 + epoch - start
		}
	}
	return json.Number(strconv.Itoa(int(shown)))
}

// value is the tree of any value.
func (n *names) value(name string, v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		return n.structure(v)
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return n.value(name, v.Elem())
	case reflect.String:
		return n.text(v.String())
	case reflect.Bool:
		return v.Bool()
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return json.Number(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint16, reflect.Uint32:
		return json.Number(strconv.FormatUint(v.Uint(), 10))
	case reflect.Float64:
		return json.Number(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	case reflect.Array:
		return n.id(v.Interface().([16]byte))
	case reflect.Slice:
		return n.slice(name, v)
	}
	panic(fmt.Sprintf("%s is of a kind that no answer has: %v", name, v.Type()))
}

// ordered are the arrays of structures whose order counts.
var ordered = []string{"ConfigSynonyms"}

func (n *names) slice(name string, v reflect.Value) any {
	if v.IsNil() {
		return nil
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return n.text(fmt.Sprintf("%q", v.Bytes()))
	}
	list := []any{}
	for i := range v.Len() {
		list = append(list, n.value(name, v.Index(i)))
	}
	if v.Type().Elem().Kind() == reflect.Struct && !slices.Contains(ordered, name) {
		slices.SortStableFunc(list, func(a, b any) int { return strings.Compare(compact(a), compact(b)) })
	}
	return list
}

// someText stands for a text that is written for people.
func someText(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if v.String() == "" {
		return ""
	}
	return "<text>"
}

// codeName is the name of an error code.
func codeName(code int16) any {
	if code == 0 {
		return "NONE"
	}
	if e, ok := kerr.ErrorForCode(code).(*kerr.Error); ok && e.Code == code {
		return e.Message
	}
	return json.Number(strconv.Itoa(int(code)))
}
