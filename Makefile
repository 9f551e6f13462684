# Targets named by intent; `make help` lists them.
GO      ?= go
BIN     ?= bin
FUZZTIME ?= 20s
export CGO_ENABLED ?= 0

.PHONY: help build test short race lint fuzz interop guest perf clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## one static binary in bin/blkbench
	$(GO) build -trimpath -o $(BIN)/blkbench ./cmd/blkbench

short: ## unit and golden tests: seconds, nothing needed
	$(GO) test -short ./...

test: ## everything that runs without a guest, against the peers that are installed
	$(GO) test -timeout 20m ./...

race: ## the same under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m ./...

lint: ## golangci-lint with the layers, and module hygiene
	$(GO) tool -modfile=.ci/tools/go.mod golangci-lint run ./...
	$(GO) mod tidy -diff

fuzz: ## every fuzz target for FUZZTIME (20s) each
	@.ci/fuzz $(FUZZTIME)

interop: ## only the tests that drive real peers (fio, qemu-img, nbdkit, ...)
	$(GO) test -timeout 30m -run 'Interop|Peer' -v ./...

guest: ## a QEMU guest with real vfio-pci NVMe controllers
	$(GO) test -timeout 30m -run 'Guest' -v ./engine/enginetest/... ./cmd/blkbench/nvmecmd ./cmd/blkbench/nbdcmd

perf: build ## comparisons with peers, interleaved; rewrites the tables of docs/performance.md
	$(GO) test -timeout 120m -run 'Perf' -v ./bench/perf -args -perf

clean: ## remove what build made
	rm -rf $(BIN)
