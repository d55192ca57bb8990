package broker

import (
	"net"
	"slices"
	"time"

	"segue/internal/config"
	"segue/internal/placement"
)

// localhost is what clients are told where nothing better is configured. It is right for everybody on this machine; a
// host name of this machine would be right for some others, and wrong wherever it cannot be looked up.
const localhost = "localhost"

// advertised returns the address that each listener hands to its clients, now that the ports are known.
func advertised(l config.Listeners, bound map[string]net.Addr) map[string]placement.Address {
	addresses := make(map[string]placement.Address)
	for _, a := range l.Advertised {
		address := placement.Address{Host: a.Host, Port: a.Port}
		if address.Host == "" {
			address.Host = localhost
		}
		if tcp, ok := bound[a.Name].(*net.TCPAddr); ok && address.Port == 0 {
			address.Port = int32(tcp.Port)
		}
		addresses[a.Name] = address
	}
	return addresses
}

// report logs what a user has to know to connect, and how long the start took.
func (b *Broker) report() {
	settings := b.settings.Load()
	bound := b.server.Addrs()
	told := advertised(settings.Listeners(), bound)
	for _, l := range settings.Listeners().Bound {
		e := b.config.Log.Info().Str("listener", l.Name).Stringer("listens_on", bound[l.Name])
		address, ok := told[l.Name]
		if !ok {
			e.Msg("clients of this listener are told of no broker; set advertised.listeners to change that")
			continue
		}
		e = e.Str("clients_are_told", config.Listener{Host: address.Host, Port: address.Port}.Address())
		if slices.ContainsFunc(settings.Listeners().Advertised, func(a config.Listener) bool { return a.Name == l.Name && a.Host == "" }) {
			e.Msg("ready for clients on this machine; for others set advertised.listeners")
		} else {
			e.Msg("ready for clients that can reach that address")
		}
	}
	if b.console != nil {
		b.config.Log.Info().Stringer("listens_on", b.console.Addr()).Msg("health and metrics over HTTP: /live, /ready, /metrics")
	}
	image := b.catalog.Image()
	b.config.Log.Info().Str("cluster_id", image.ClusterID()).Int32("node_id", settings.Broker().NodeID).
		Int32("start", image.StartCount()).Int("topics", len(image.Topics())).Int("partitions", image.Partitions()).
		Strs("log_dirs", settings.Broker().LogDirs).Dur("took", time.Since(b.config.Started)).Msg("started")
}
