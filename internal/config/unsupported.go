package config

// unsupported says why this broker cannot do what a value asks for; nothing if it can. These are values that Kafka
// takes and that must not be passed over in silence: a setting that guards something, or one that data depends on.
func unsupported(d *Definition, v Value) string {
	switch d.Name {
	case "remote.storage.enable":
		if v.Bool() {
			return "tiered storage is disabled on this broker, so a topic cannot keep segments remotely"
		}
	case "remote.log.storage.system.enable":
		if v.Bool() {
			return "tiered storage is a Java plugin, which this broker cannot load; leave it false"
		}
	case "authorizer.class.name", "create.topic.policy.class.name", "alter.config.policy.class.name",
		"client.quota.callback.class":
		if v.String() != "" {
			return "it names a Java class, which this broker cannot load, and without it nothing would be enforced; remove it"
		}
	case "config.providers":
		if len(v.list) > 0 {
			return "config providers are Java classes, which this broker cannot load; write the values out or pass them as KAFKA_* variables"
		}
	case "process.roles":
		if !v.Has("broker") {
			return "this process is always a broker; include broker, or leave it out"
		}
	}
	return ""
}

// Check parses a value and also refuses what this broker cannot do. The error is a *ValueError or an
// *UnsupportedError.
func (d *Definition) Check(text string) (Value, error) {
	v, err := d.Parse(text)
	if err != nil {
		return Value{}, err
	}
	if reason := unsupported(d, v); reason != "" {
		return Value{}, &UnsupportedError{Name: d.Name, Value: shorten(v.String()), Reason: reason}
	}
	return v, nil
}
