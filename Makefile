# The whole of Tidings' housekeeping. `make` alone prints what there is.

DATA ?= data
LISTEN ?= 127.0.0.1:3000
OPS_LISTEN ?= 127.0.0.1:9464
# A developer's browsers, scripts and tests are one address.
CONNECTIONS_PER_IP ?= 100
SOAK ?= 600
FUZZ ?= 60

.DEFAULT_GOAL := help
.PHONY: help run test lint fmt bench fuzz soak clean

help: ## Print this list.
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build Tidings and start it on its embedded store in ./data (DATA=, LISTEN= and OPS_LISTEN= change that).
	@scripts/prepare build
	@. scripts/env && cargo build --release --locked -p tidings-cli
	@exec target/release/tidings serve --data $(DATA) --listen $(LISTEN) --ops-listen $(OPS_LISTEN) \
		--set limits.connections_per_ip=$(CONNECTIONS_PER_IP)

test: ## Run the whole test suite and print the minutes of each part.
	@scripts/prepare test
	@scripts/test

lint: ## Check formatting, lints, licences, bans and sources; all offline but the installation of the tools.
	@scripts/prepare lint
	@scripts/lint

fmt: ## Format the code.
	@. scripts/env && cargo fmt --all

bench: ## Run the benchmarks against their references (ARGS= goes to tidings-bench; default: all).
	@scripts/prepare bench
	@. scripts/env && cargo build --release --locked -p tidings-cli -p tidings-bench
	@target/release/tidings-bench $(or $(ARGS),all) --server target/release/tidings

fuzz: ## Fuzz the guard, FUZZ= seconds (60) for each of its targets, guided by coverage.
	@scripts/prepare fuzz
	@FUZZ=$(FUZZ) scripts/fuzz

soak: ## Run the tests of cluster, webhooks, floods, restarts, slow peers, smuggled requests and idle clients for long, SOAK= seconds (600) under each fault and load, one after another.
	@scripts/prepare test
	@. scripts/env && cargo build --locked -p tidings-cli && cargo build --release --locked -p tidings-cli
	@. scripts/env && TIDINGS_SOAK=$(SOAK) cargo test --locked -p tidings-tests --test it -- --nocapture --test-threads 1 cluster::
	@. scripts/env && TIDINGS_SOAK=$(SOAK) TIDINGS_BIN=$(CURDIR)/target/release/tidings \
		cargo test --release --locked -p tidings-tests --test it -- --nocapture --test-threads 1 webhooks::sustained webhooks::many handshakes \
		busy soft_landing flood::of_ten_thousand
	@TIDINGS_SOAK=$(SOAK) target/peers/bin/python scripts/test-slow-peers target/release/tidings
	@TIDINGS_SOAK=$(SOAK) target/peers/bin/python scripts/test-smuggling target/release/tidings
	@TIDINGS_SOAK=$(SOAK) target/peers/bin/python scripts/test-idle target/release/tidings

clean: ## Remove what was built. Data folders stay.
	@. scripts/env && cargo clean
