package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Protocol is the security protocol of a listener.
type Protocol string

// Kafka's security protocols.
const (
	Plaintext     Protocol = "PLAINTEXT"
	SSL           Protocol = "SSL"
	SASLPlaintext Protocol = "SASL_PLAINTEXT"
	SASLSSL       Protocol = "SASL_SSL"
)

// Listener is a named address: one to listen on, or one to tell clients.
type Listener struct {
	Name     string // in capitals
	Protocol Protocol
	Host     string // without brackets; empty for every interface
	Port     int32  // 0 for any that is free
}

// Address is the host and port in the form that net.Listen and net.Dial take.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) }

// String is the listener as it is written in listeners.
func (l Listener) String() string { return l.Name + "://" + l.Address() }

// Listeners says what to listen on and what to tell clients.
type Listeners struct {
	// Bound are the broker's own listeners, in the order given. Those of controller.listener.names are not among
	// them.
	Bound []Listener
	// Advertised are the addresses that clients are told, each under the name of a bound listener. An empty host
	// means that the caller has to find a name for this machine, and port 0 means the port that was bound. A bound listener that is missing here is reachable, and its clients
	// are told of no broker.
	Advertised []Listener
	// Controller are the names in controller.listener.names, in capitals.
	Controller []string
	// InterBroker is the name of the advertised listener that brokers use among themselves.
	InterBroker string
}

// ParseListeners reads entries of the form NAME://host:port. An IPv6 address stands in brackets, and an empty host
// means every interface. Protocols gives each name its security protocol. Names must differ; ports must differ too
// if distinctPorts, except 0 and except for one IPv4 and one IPv6 address on the same port.
func ParseListeners(entries []string, protocols map[string]Protocol, distinctPorts bool) ([]Listener, error) {
	listeners := make([]Listener, 0, len(entries))
	for _, entry := range entries {
		l, err := parseListener(entry)
		if err != nil {
			return nil, err
		}
		protocol, ok := protocols[l.Name]
		if !ok {
			return nil, fmt.Errorf("no security protocol defined for listener %s in %q: add %[1]s:PLAINTEXT or another protocol "+
				"to listener.security.protocol.map", l.Name, shorten(entry))
		}
		l.Protocol = protocol
		for _, other := range listeners {
			if other.Name == l.Name {
				return nil, fmt.Errorf("listener name %s is used twice, by %s and %s: each needs a name of its own", l.Name, other, l)
			}
			if distinctPorts && other.Port == l.Port && l.Port != 0 && !differentFamilies(other.Host, l.Host) {
				return nil, fmt.Errorf("listeners %s and %s have the same port: use different ports, or one IPv4 and one IPv6 address",
					other, l)
			}
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func parseListener(entry string) (Listener, error) {
	invalid := func(why string) (Listener, error) {
		return Listener{}, fmt.Errorf("listener %q is not of the form NAME://host:port: %s", shorten(entry), why)
	}
	name, address, ok := strings.Cut(entry, "://")
	name = strings.ToUpper(strings.TrimSpace(name))
	switch {
	case !ok:
		return invalid("there is no ://")
	case name == "":
		return invalid("the name is missing")
	case len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) }):
		return invalid("a name has letters, digits, '.', '_' and '-' only, and at most 255 of them")
	}
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return invalid("there is no port")
	}
	host, portText := address[:colon], address[colon+1:]
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return invalid("the port must be a number from 0 to 65535")
	}
	host, why := parseHost(host)
	if why != "" {
		return invalid(why)
	}
	return Listener{Name: name, Host: host, Port: int32(port)}, nil
}

// parseHost takes the brackets off an IPv6 address and says why a host cannot be one.
func parseHost(host string) (parsed, why string) {
	bare, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		var closed bool
		if bare, closed = strings.CutSuffix(bare, "]"); !closed {
			return "", "the bracket before the address is not closed"
		}
	}
	switch {
	case strings.Contains(bare, ":"):
		ip, err := netip.ParseAddr(bare)
		if err != nil || strings.ContainsFunc(ip.Zone(), func(r rune) bool { return !isNameRune(r) }) {
			return "", "the host is not an IPv6 address"
		}
	case bracketed:
		return "", "only an IPv6 address stands in brackets"
	case len(bare) > 255:
		return "", "the host is longer than 255 bytes"
	case strings.ContainsFunc(bare, func(r rune) bool { return !isNameRune(r) }):
		return "", "a host name has letters, digits, '.', '_' and '-' only"
	}
	return bare, ""
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

func differentFamilies(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Is4() != y.Is4()
}

// ParseProtocols reads listener.security.protocol.map: NAME:PROTOCOL pairs separated by commas.
func ParseProtocols(text string) (map[string]Protocol, error) {
	protocols := map[string]Protocol{}
	for _, pair := range splitList(javaTrim(text)) {
		colon := strings.LastIndexByte(pair, ':')
		if colon < 0 {
			return nil, fmt.Errorf("listener.security.protocol.map: %q is not of the form NAME:PROTOCOL", shorten(pair))
		}
		name, protocol := strings.ToUpper(javaTrim(pair[:colon])), Protocol(javaTrim(pair[colon+1:]))
		if name == "" {
			return nil, fmt.Errorf("listener.security.protocol.map: %q has no listener name", shorten(pair))
		}
		if !slices.Contains([]Protocol{Plaintext, SSL, SASLPlaintext, SASLSSL}, protocol) {
			return nil, fmt.Errorf("listener.security.protocol.map: %q is not a security protocol: use PLAINTEXT, SSL, "+
				"SASL_PLAINTEXT or SASL_SSL", shorten(string(protocol)))
		}
		protocols[name] = protocol
	}
	return protocols, nil
}

// resolveListeners works out what the static configs say of listeners, by the rules of Kafka's KafkaConfig for a
// broker.
func resolveListeners(l *Layers) (Listeners, error) {
	var out Listeners
	for _, name := range l.Value("controller.listener.names").List() {
		out.Controller = append(out.Controller, strings.ToUpper(name))
	}
	protocols, err := ParseProtocols(l.Value("listener.security.protocol.map").String())
	if err != nil {
		return out, err
	}
	if _, set := l.static["listener.security.protocol.map"]; !set {
		// Kafka maps the controllers' listeners to PLAINTEXT by itself only while nothing else is encrypted. They
		// are not bound here, so nothing can be exposed by it.
		for _, name := range out.Controller {
			if _, known := protocols[name]; !known {
				protocols[name] = Plaintext
			}
		}
	}
	all, err := ParseListeners(l.Value("listeners").List(), protocols, true)
	if err != nil {
		return out, fmt.Errorf("listeners: %w", err)
	}
	ofController := func(listener Listener) bool { return slices.Contains(out.Controller, listener.Name) }
	out.Bound = slices.DeleteFunc(all, ofController)
	if len(out.Bound) == 0 {
		return out, fmt.Errorf("listeners: all of them are named in controller.listener.names, so none is left for clients")
	}
	out.Advertised = slices.Clone(out.Bound)
	if advertised := l.Value("advertised.listeners"); !advertised.Null() {
		if out.Advertised, err = ParseListeners(advertised.List(), protocols, false); err != nil {
			return out, fmt.Errorf("advertised.listeners: %w", err)
		}
		out.Advertised = slices.DeleteFunc(out.Advertised, ofController)
	}
	if err := checkAdvertised(out); err != nil {
		return out, err
	}
	out.InterBroker, err = interBroker(l, out.Advertised)
	return out, err
}

func checkAdvertised(l Listeners) error {
	if len(l.Advertised) == 0 {
		return fmt.Errorf("advertised.listeners: all of them are named in controller.listener.names, so clients are told nothing")
	}
	for _, a := range l.Advertised {
		if !slices.ContainsFunc(l.Bound, func(b Listener) bool { return b.Name == a.Name }) {
			return fmt.Errorf("advertised.listeners: %s is advertised and not in listeners: add it there", a.Name)
		}
		if ip, err := netip.ParseAddr(a.Host); err == nil && ip.IsUnspecified() {
			return fmt.Errorf("advertised.listeners cannot use the nonroutable address %s of listener %s, which no client can "+
				"connect to: set advertised.listeners to an address that clients can reach", a.Host, a.Name)
		}
	}
	return nil
}

// interBroker returns the listener for brokers. Where none is named, and none is called after the protocol, the first
// will do: this broker does not connect to itself.
func interBroker(l *Layers, advertised []Listener) (string, error) {
	named := func(name string) bool {
		return slices.ContainsFunc(advertised, func(a Listener) bool { return a.Name == name })
	}
	if name := l.Value("inter.broker.listener.name"); !name.Null() {
		if _, both := l.static["security.inter.broker.protocol"]; both {
			return "", fmt.Errorf("only one of inter.broker.listener.name and security.inter.broker.protocol may be set")
		}
		upper := strings.ToUpper(name.String())
		if !named(upper) {
			return "", fmt.Errorf("inter.broker.listener.name: %s is not an advertised listener", shorten(name.String()))
		}
		return upper, nil
	}
	if protocol := l.Value("security.inter.broker.protocol").String(); named(protocol) {
		return protocol, nil
	}
	return advertised[0].Name, nil
}
