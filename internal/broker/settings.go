package broker

import (
	"maps"
	"strconv"
	"sync/atomic"

	"segue/internal/catalog"
	"segue/internal/config"
)

// currentSettings are the broker's configs as they hold: those at the start, with what the catalog has altered. Load may be
// called by anybody; the others by one at a time.
type currentSettings struct {
	atomic.Pointer[config.Layers]
	node string // this broker's name among the altered ones
}

func (s *currentSettings) begin(start *config.Layers) {
	s.node = strconv.Itoa(int(start.Broker().NodeID))
	s.Store(start)
}

// follow takes over what the step from one image to the next alters, and says whether that is anything.
func (s *currentSettings) follow(prev, next *catalog.Image) bool {
	altered := false
	for _, broker := range [...]string{s.node, ""} {
		altered = altered || !maps.Equal(prev.BrokerConfigs(broker), next.BrokerConfigs(broker))
	}
	if altered {
		s.Store(s.Load().WithDynamic(next.BrokerConfigs(s.node), next.BrokerConfigs("")))
	}
	return altered
}
