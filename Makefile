# `make` lists the targets. `make run` and `make test` need Go, git and, for the
# tests that drive redis-cli and redis-benchmark, Debian's redis-tools, which they
# install if they may.

GO      ?= go
BIN     := bin/rkv
SEEDS   ?= 300
MUTANT_SEEDS ?= 1000
STATES  ?= 20000
FUZZTIME ?= 10s
CHAOS_TIME ?= 5m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.release=$(VERSION)
# bin/ may hold a redis-server to compare with (.ci/tools).
export PATH := $(PATH):$(CURDIR)/bin

.DEFAULT_GOAL := help
.PHONY: help build run test race format lint sim mutants crash compat compat-baseline diff clients chaos fuzz bench bench-quick bench-types bench-stress bench-stalls cover soak tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/rkv
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/rkv

run: build ## start a three-node cluster on 127.0.0.1:6379-6381; Ctrl-C stops it
	@exec $(BIN) demo

test: format tools build ## all tests, with real processes and real clients; what CI runs
	$(GO) vet ./...
	$(GO) test -timeout 15m ./...
	$(GO) run ./internal/chaos/cmd -rkv $(BIN) -time 15s -round 15s -nodes 3 -seed 10
	@$(MAKE) --no-print-directory clients CLIENTSFLAGS=-short

race: ## the tests under the race detector
	$(GO) test -race -timeout 30m ./...

format:
	@bad=$$(gofmt -l .); [ -z "$$bad" ] || { echo "not gofmt-ed: $$bad"; exit 1; }

lint: format ## gofmt, vet, staticcheck
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks inherit,-ST1005 ./... # ST1005: errors are in Redis's words
	cd internal/clients && $(GO) vet ./...

fuzz: ## every fuzz target for FUZZTIME
	@GO=$(GO) FUZZTIME=$(FUZZTIME) ./bench/fuzz.sh

bench: build tools ## the whole comparison with a durable Redis, tens of minutes; docs/bench.json and .svg
	$(GO) run ./bench -rkv $(BIN) -rounds 3 -json docs/bench.json -svg docs/bench.svg

bench-quick: build tools ## a first look, about two minutes
	$(GO) run ./bench -rkv $(BIN) -quick

bench-types: build tools ## what each type's hot commands cost one node, beside one Redis, some minutes
	$(GO) run ./bench -rkv $(BIN) -types

soak: build tools ## ten minutes of load with snapshots: memory, descriptors, goroutines
	$(GO) run ./bench -rkv $(BIN) -soak 10m

bench-stress: build tools ## parts of the peak, slow and dead followers, floods: what clients notice
	$(GO) run ./bench -rkv $(BIN) -stress

bench-stalls: build tools ## how long commands on a million elements hold up others, beside Redis: STALLSFLAGS='-keys 100000 -only SORT'
	@$(GO) run ./bench -rkv $(BIN) -stalls $(STALLSFLAGS)

sim: ## whole clusters under faults on one goroutine each: SEEDS=N, or one SEED=s (V=1: its history)
	@$(GO) run ./internal/sim/cmd/sim $(if $(SEED),-seed $(SEED) $(if $(V),-v),-seeds $(SEEDS)) $(SIMFLAGS)

cover: ## test coverage by package
	$(GO) test -cover ./...

crash: ## power cuts at every call and damage at every byte: STATES=N, SEED=s
	@$(GO) run ./internal/crash/cmd -states $(STATES) $(if $(SEED),-seed $(SEED))

mutants: ## put known Raft bugs in, one at a time, and see what notices (MUTANTS=R07,R09: only these)
	@$(GO) run ./internal/sim/cmd/mutants -seeds $(MUTANT_SEEDS) $(if $(MUTANTS),-only $(MUTANTS)) $(MUTANTFLAGS)

compat: build tools ## Redis's own test suite, through the leader and through a follower (REDIS_SRC=checkout, COMPATFLAGS)
	@$(GO) run ./internal/compat/cmd -rkv $(BIN) $(COMPATFLAGS)

compat-baseline: tools ## record what the redis-server in PATH passes of the suite
	@$(GO) run ./internal/compat/cmd -record $(COMPATFLAGS)

diff: build tools ## random commands against rkv and a real redis-server (DIFFFLAGS='-commands 10000000 -seed 1')
	@$(GO) run ./internal/diff/cmd -rkv $(BIN) $(DIFFFLAGS)

chaos: build ## real processes under kills, pauses, partitions, power cuts: CHAOS_TIME=5m, SEED=s, KILLS=n
	@$(GO) build -trimpath -o bin/chaos ./internal/chaos/cmd
	@bin/chaos -rkv $(BIN) -time $(CHAOS_TIME) $(if $(SEED),-seed $(SEED)) $(if $(KILLS),-kills $(KILLS)) $(CHAOSFLAGS)

clients: build tools ## stock clients and applications while nodes are killed: CLIENTSFLAGS='-only ioredis'
	@cd internal/clients && $(GO) build -trimpath -o ../../bin/clients .
	@bin/clients -rkv $(BIN) $(CLIENTSFLAGS)

tools:
	@./.ci/tools
