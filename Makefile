# What there is to do here. CONTRIBUTING.md says when.
GO ?= go
FUZZTIME ?= 20s
VERSION ?=
TABLE ?=
KAFKA ?=

.PHONY: build fmt lint test race fuzz integration clients oracle long bench cross

build: ## one static binary, ./broker
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o broker ./cmd/broker

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

lint: ## formatting, vet, staticcheck; the floors of the architecture are a test
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet -tags integration ./...
	$(GO) tool staticcheck -tags integration ./...

test: ## the fast tests: no network beyond loopback, nothing installed but Go
	$(GO) test ./...

race: ## the same with the race detector
	$(GO) test -race ./...

fuzz: ## each fuzz target for FUZZTIME
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg || exit 1; \
	  done; \
	done

integration: ## the black-box tests on the built binary, with some of the clients; what is not installed is skipped
	$(GO) test -count=1 -tags integration -timeout 20m -p 1 ./integration/...

clients: ## installs clients of all makes, runs them against the built binary, and prints what goes; TABLE=page puts it there
	SEGUE_CLIENTS=all SEGUE_CLIENTS_TABLE=$(abspath $(TABLE)) \
		$(GO) test -count=1 -v -tags integration -timeout 60m -run 'TestClients|TestTools|TestStreams' ./integration/clients

oracle: ## ask the newest Apache Kafka again what it answers; needs Java and Maven. The tests compare with what it said
	$(GO) test -count=1 -v -timeout 30m -run TestRecord ./integration/oracle -record

long: ## what proves durability, at length: crash points, failed operations, kills, power cuts, transactions; two or three hours
	SEGUE_LONG=1 $(GO) test -count=1 -v -timeout 90m -run 'TestEvery' ./storage ./internal/broker ./internal/catalog/local
	SEGUE_LONG=1 $(GO) test -count=1 -v -timeout 30m ./integration/history
	SEGUE_LONG=1 $(GO) test -count=1 -v -tags integration -timeout 180m \
		-run 'TestChaos|TestPlantedBugs|TestTransactionChaos|TestTransactionPlantedBugs|TestOverload|TestPowerCut|TestCrowd|TestHalfOpen' ./integration

bench: ## the broker measured from outside, beside its limits; a person reads it. KAFKA=folder compares, KAFKA=fetch has Maven bring one
	$(GO) run ./integration/bench $(if $(KAFKA),-kafka $(KAFKA)) $(BENCHFLAGS)

cross: ## it builds, and vets, wherever it is to run
	@for os in linux darwin windows; do for arch in amd64 arm64; do \
	  echo "$$os/$$arch"; \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -o /dev/null ./cmd/broker && \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) vet -tags integration ./... || exit 1; \
	done; done
