package handler

import (
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
)

// alteration is what a request wants of the configs of one resource, and what became of it.
type alteration struct {
	kind    kmsg.ConfigResourceType
	name    string
	changes []configChange
	whole   bool // configs that are not named lose their values
	err     *apiError
}

// configChange is what an alteration wants of one config.
type configChange struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

// alterer alters configs by the rules of Kafka's ConfigAdminManager and ConfigurationControlManager.
type alterer struct {
	log    zerolog.Logger
	broker context.Context // that commits run under
	nodeID int32
	store  catalogStore
	config func() *config.Layers
}

// outcome is what an alteration that nothing speaks against leads to.
type outcome struct {
	of            *alteration
	table         *config.Table
	before, after map[string]string
	change        catalog.Change
}

// alter does all alterations that can be done, in one commit, and notes what speaks against the others; with
// validateOnly it only does the latter. When it returns what was altered is in effect.
func (a *alterer) alter(alterations []alteration, validateOnly bool) {
	refuseRepeated(alterations)
	for i := range alterations {
		if alterations[i].err == nil {
			alterations[i].err = alterations[i].check()
		}
	}
	var judged []alteration
	var outcomes []outcome
	_, err := commitJudged(a.broker, a.store, func(image *catalog.Image) (changes []catalog.Change) {
		judged = slices.Clone(alterations)
		outcomes = a.judge(image, judged)
		for _, o := range outcomes {
			if !validateOnly {
				changes = append(changes, o.change)
			}
		}
		return changes
	})
	if err != nil {
		a.log.Error().Err(err).Int("resources", len(outcomes)).Msg("configs could not be altered")
	}
	for _, o := range outcomes {
		switch {
		case err != nil:
			o.of.err = plain(errorOf(err))
		case !validateOnly:
			a.logAltered(o)
		}
	}
	copy(alterations, judged)
}

// refuseRepeated refuses resources that a request names more than once.
func refuseRepeated(alterations []alteration) {
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	times := make(map[resource]int, len(alterations))
	for _, a := range alterations {
		times[resource{a.kind, a.name}]++
	}
	for i, a := range alterations {
		if times[resource{a.kind, a.name}] > 1 {
			alterations[i].err = failure(kerr.InvalidRequest, "Each resource must appear at most once.")
		}
	}
}

// check says what is wrong with an alteration whatever there is.
func (a *alteration) check() *apiError {
	seen := make(map[string]bool, len(a.changes))
	var null []string
	for _, c := range a.changes {
		if seen[c.name] {
			return failure(kerr.InvalidRequest, "Error due to duplicate config keys")
		}
		seen[c.name] = true
		if c.value == nil && c.op != kmsg.IncrementalAlterConfigOpDelete {
			null = append(null, c.name)
		}
	}
	if len(null) > 0 {
		return failure(kerr.InvalidRequest, "Null value not supported for : %s", strings.Join(null, ", "))
	}
	for _, c := range a.changes {
		if c.op < kmsg.IncrementalAlterConfigOpSet || c.op > kmsg.IncrementalAlterConfigOpSubtract {
			return failure(kerr.InvalidRequest, "Unknown operations type %d", c.op)
		}
	}
	switch a.kind {
	case kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker:
		return nil
	case kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
		return unsupportedResource(a.kind)
	}
	return failure(kerr.InvalidRequest, "Unknown resource type %d", a.kind)
}

// judge completes the alterations with what speaks against them, and returns what the others lead to, unless they change
// nothing.
func (a *alterer) judge(image *catalog.Image, alterations []alteration) (outcomes []outcome) {
	layers := a.config()
	for i := range alterations {
		alteration := &alterations[i]
		if alteration.err != nil {
			continue
		}
		var o outcome
		if alteration.kind == kmsg.ConfigResourceTypeTopic {
			o, alteration.err = alteration.ofTopic(image, layers)
		} else {
			o, alteration.err = alteration.ofBroker(image, layers, a.nodeID)
		}
		if alteration.err == nil && !maps.Equal(o.before, o.after) {
			o.of = alteration
			outcomes = append(outcomes, o)
		}
	}
	return outcomes
}

// ofTopic judges an alteration of a topic's configs. What is wrong with them is told before that there is no such topic,
// as in Kafka.
func (a *alteration) ofTopic(image *catalog.Image, layers *config.Layers) (outcome, *apiError) {
	topic, exists := image.Topic(a.name)
	if !exists {
		topic = &catalog.Topic{}
	}
	o := outcome{table: config.Topic(), before: topic.Configs}
	var err *apiError
	if o.after, err = a.apply(o.before, o.table); err != nil {
		return o, err
	}
	if a.name == "" {
		return o, failure(kerr.InvalidRequest, "Default topic resources are not allowed.")
	}
	if err := catalog.ValidateName(a.name); err != nil {
		return o, failure(kerr.InvalidTopicException, "%v", err)
	}
	if err := layers.CheckTopic(o.after); err != nil {
		return o, failure(kerr.InvalidConfig, "%v", err)
	}
	if !exists {
		return o, failure(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", a.name)
	}
	o.change = catalog.SetTopicConfigs{ID: topic.ID, Configs: o.after}
	return o, nil
}

// ofBroker judges an alteration of the configs of this broker, or of all brokers (the empty name).
func (a *alteration) ofBroker(image *catalog.Image, layers *config.Layers, nodeID int32) (outcome, *apiError) {
	broker := ""
	if a.name != "" {
		id, err := strconv.ParseInt(a.name, 10, 32)
		switch {
		case err != nil:
			return outcome{}, failure(kerr.InvalidRequest, "Node id must be an integer, but it is: %s", a.name)
		case int32(id) != nodeID:
			return outcome{}, failure(kerr.InvalidRequest, "Unexpected broker id, expected %d, but received %s", nodeID, a.name)
		}
		broker = strconv.Itoa(int(nodeID))
	}
	// As the image has them: what holds this moment may be a step ahead of it, or behind.
	layers = layers.WithDynamic(image.BrokerConfigs(strconv.Itoa(int(nodeID))), image.BrokerConfigs(""))
	o := outcome{table: config.Broker(), before: image.BrokerConfigs(broker)}
	var err *apiError
	if o.after, err = a.apply(o.before, o.table); err != nil {
		return o, err
	}
	o.change = catalog.SetBrokerConfigs{Broker: broker, Configs: o.after}
	if _, err := image.Apply(o.change); err != nil { // unknown names pass the next check, and there may be too many of them
		return o, failure(errorOf(err), "%v", err)
	}
	if err := layers.CheckAltered(o.after, broker != ""); err != nil {
		return o, failure(kerr.InvalidRequest, "%v", err)
	}
	return o, nil
}

// apply returns the configs that an alteration makes of others.
func (a *alteration) apply(configs map[string]string, table *config.Table) (map[string]string, *apiError) {
	next := map[string]string{}
	if !a.whole {
		maps.Copy(next, configs)
	}
	for _, c := range a.changes {
		if c.value != nil && len(*c.value) > math.MaxInt16 {
			return nil, valueTooLong()
		}
		switch c.op {
		case kmsg.IncrementalAlterConfigOpDelete:
			delete(next, c.name)
			continue
		case kmsg.IncrementalAlterConfigOpSet:
			next[c.name] = *c.value
		default:
			d, known := table.Lookup(c.name)
			if !known || d.Kind != config.List {
				return nil, failure(kerr.InvalidConfig, "Can't %v to key %s because its type is not LIST.", c.op, c.name)
			}
			is, set := next[c.name]
			if !set {
				is = d.Default
			}
			next[c.name] = c.alterList(is)
		}
		if len(next[c.name]) > math.MaxInt16 {
			return nil, valueTooLong()
		}
	}
	return next, nil
}

// alterList returns a list with the change's elements, or without them.
func (c *configChange) alterList(list string) string {
	elements := slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
	there := make(map[string]int, len(elements))
	for _, element := range elements {
		there[element]++
	}
	if c.op == kmsg.IncrementalAlterConfigOpAppend {
		for _, element := range strings.Split(*c.value, ",") {
			if there[element]++; there[element] == 1 {
				elements = append(elements, element)
			}
		}
		return strings.Join(elements, ",")
	}
	unwanted := make(map[string]int)
	for _, element := range strings.Split(*c.value, ",") {
		unwanted[element]++
	}
	return strings.Join(slices.DeleteFunc(elements, func(s string) bool {
		unwanted[s]--
		return unwanted[s] >= 0
	}), ",")
}

func valueTooLong() *apiError {
	return failure(kerr.InvalidConfig,
		"The configuration value cannot be added because it exceeds the maximum value size of %d bytes.", math.MaxInt16)
}

// unsupportedResource refuses a type of resource that has no configs here.
func unsupportedResource(kind kmsg.ConfigResourceType) *apiError {
	name := kind.String()
	if kind == kmsg.ConfigResourceTypeGroupConfig {
		name = "GROUP" // Kafka's name
	}
	return failure(kerr.InvalidRequest, "Unsupported resource type: %s", name)
}

func (a *alterer) logAltered(o outcome) {
	var set, inert, unset []string
	for _, name := range slices.Sorted(maps.Keys(o.after)) {
		if was, had := o.before[name]; had && was == o.after[name] {
			continue
		}
		set = append(set, name+"="+config.Loggable(o.table, name, o.after[name]))
		if d, known := o.table.Lookup(name); known && d.Inert {
			inert = append(inert, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.before)) {
		if _, has := o.after[name]; !has {
			unset = append(unset, name)
		}
	}
	event := a.log.Info().Strs("set", set).Strs("unset", unset)
	if len(inert) > 0 {
		event.Strs("without_effect", inert)
	}
	switch {
	case o.of.kind == kmsg.ConfigResourceTypeTopic:
		event.Str("topic", o.of.name).Msg("topic configs altered")
	case o.of.name == "":
		event.Msg("configs of all brokers altered")
	default:
		event.Str("broker", o.of.name).Msg("broker configs altered")
	}
}
