// Package console is what operators and their tools see of a broker over HTTP: whether it lives (/live), whether it is
// ready for clients (/ready), and its figures for Prometheus (/metrics).
//
// Console is the listener and its pages. Sources are the functions that the figures come from; the packages that count
// know nothing of Prometheus, and a collector here turns what their Stats return into metrics at each scrape.
//
// Invariants: a scrape sees each source once. Every metric of the broker's own begins with segue_, and none is registered
// anywhere but in the Console's own registry. Counters never go back while a broker runs: what is summed over partitions
// is summed by topic, whose partitions come and go together.
package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// Limits on those who ask. They guard the broker, and nobody has a reason to change them.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	scrapeTimeout  = 30 * time.Second
	maxScrapes     = 2 // at a time: each takes some KiB for each topic
	maxHeaderBytes = 16 << 10
	maxConnections = 256 // further ones wait until one of them is closed
)

// Config is what a Console is made of.
type Config struct {
	// Addr is host:port to listen on; an empty host is every address, port 0 is any free port.
	Addr string
	// Ready says why the broker is not ready for clients, nil if it is. It may be called at any time.
	Ready func() error
	// Trouble returns what a broker that is ready cannot do all the same, in a line for each; nil where nothing is known of
	// that. It may be called at any time.
	Trouble func() []string
	// Sources are where the figures come from.
	Sources Sources
	Log     zerolog.Logger
}

// Console serves the pages. Make one with New, then Listen, then Serve; Shutdown ends it.
type Console struct {
	config   Config
	server   *http.Server
	listener atomic.Pointer[net.Listener]
}

// New returns a Console.
func New(c Config) (*Console, error) {
	handler, err := newHandler(c)
	if err != nil {
		return nil, err
	}
	return &Console{config: c, server: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      2 * scrapeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}}, nil
}

func newHandler(c Config) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, collector := range []prometheus.Collector{
		newCollector(c.Sources),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("console: register metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Ready(); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		text := []string{"ready"}
		if c.Trouble != nil {
			text = append(text, c.Trouble()...)
		}
		say(w, http.StatusOK, strings.Join(text, "\n"))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{c.Log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	}))
	return mux, nil
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // who does not read it need not have asked
}

// scrapeLog takes what goes wrong with a scrape.
type scrapeLog struct{ log zerolog.Logger }

// Println implements promhttp.Logger.
func (l scrapeLog) Println(v ...any) {
	l.log.Warn().Str("cause", fmt.Sprint(v...)).Msg("metrics are not complete")
}

// Listen takes the address.
func (c *Console) Listen() error {
	l, err := net.Listen("tcp", c.config.Addr)
	if err != nil {
		return fmt.Errorf("console: listen for HTTP on %q (http.listener; choose another address, or leave it empty): %w", c.config.Addr, err)
	}
	c.listener.Store(&l)
	return nil
}

// Addr is the address that is listened on; nil before Listen.
func (c *Console) Addr() net.Addr {
	if l := c.listener.Load(); l != nil {
		return (*l).Addr()
	}
	return nil
}

// Serve answers until Shutdown is called, and then returns nil.
func (c *Console) Serve() error {
	l := c.listener.Load()
	if l == nil {
		return errors.New("console: Serve comes after Listen")
	}
	if err := c.server.Serve(newLimited(*l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("console: serve HTTP on %v: %w", (*l).Addr(), err)
	}
	return nil
}

// Shutdown takes no more requests and waits for those that are being answered, until ctx ends; then it cuts them off
// and returns the context's error. It may be called at any time, before Serve too.
func (c *Console) Shutdown(ctx context.Context) error {
	err := c.server.Shutdown(ctx)
	if l := c.listener.Load(); l != nil {
		(*l).Close() // an error says that it is closed, by Shutdown if Serve was called
	}
	if err != nil {
		return errors.Join(fmt.Errorf("console: requests are cut off: %w", err), c.server.Close())
	}
	return nil
}
