# Run "make" to list the targets. They need Go, git and make; build output goes to bin/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Defaults to the newest release in CHANGELOG.md; set it explicitly for a release build.
VERSION ?= $(shell scripts/version.sh)
# Output directory of "make build".
BIN := bin
# Passed to each fuzz target as go test -fuzztime.
FUZZTIME ?= 10s
# Tests need little memory, so collecting garbage less often saves a sixth of their time. Benchmarks run without it.
TEST_GOGC := 400
# How long "make soak" runs, and the first seed of the model check (0: a random seed).
FOR ?= 10m
SEED ?= 0

PLUGIN := vault-plugin-secrets-hosting
# Vault requires exactly one leading "v".
LDFLAGS := -X main.version=v$(VERSION:v%=%)
# The plugin under test runs its retry timers 20 times faster.
TEST_LDFLAGS := $(LDFLAGS) -X $(PLUGIN)/backend/timing.Scale=20
# Failpoints let tests stop the plugin between two steps. Release builds do not contain them: see backend/rotation/failpoint.
TEST_TAGS := failpoints
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.8.0
TOOLS := bin/tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
GOVULNCHECK := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck

# Ignore a go.work in a parent directory: it belongs to another project.
export GOWORK := off

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the plugin and the simulator into bin/ (VERSION=v1.2.3 to set the version)
	$(GOBUILD) -ldflags '-s -w $(LDFLAGS)' -o $(BIN)/$(PLUGIN) ./cmd/$(PLUGIN)
	$(GOBUILD) -o $(BIN)/hosting-simulator ./cmd/hosting-simulator

.PHONY: test
test: test-plugin ## Run all tests, including end-to-end tests against a real Vault
	VAULT_BIN="$$(scripts/vault.sh)" && export VAULT_BIN && \
	PLUGIN_BIN="$(CURDIR)/bin/test/$(PLUGIN)" GOGC=$(TEST_GOGC) go test -count=1 -timeout 15m ./...

.PHONY: race
race: ## Run all tests with the race detector, including a race-enabled plugin (needs a C compiler)
	@command -v "$$(go env CC)" >/dev/null || { echo "the race detector needs a C compiler: $$(go env CC) not found" >&2; exit 1; }
	CGO_ENABLED=1 go build -race -tags $(TEST_TAGS) -trimpath -buildvcs=false -ldflags '$(TEST_LDFLAGS)' -o bin/race/$(PLUGIN) ./cmd/$(PLUGIN)
	@GOGC=$(TEST_GOGC) scripts/race.sh bin/race/$(PLUGIN)

.PHONY: bench
bench: test-plugin ## Run the benchmarks: 10,000 roles due at once, startup with 100,000 roles, reads while a push hangs, crowds and many roles of others
	go test -run '^$$' -bench . -benchtime 1x ./backend/rotation
	VAULT_BIN="$$(scripts/vault.sh)" && export VAULT_BIN && export PLUGIN_BIN="$(CURDIR)/bin/test/$(PLUGIN)" && \
	go test -run '^$$' -bench Start -benchtime 3x ./bootstrap/e2e && \
	go test -run '^$$' -bench ReadCreds -benchtime 5s ./bootstrap/e2e && \
	go test -run '^$$' -bench CrowdOfReaders -benchtime 1x ./bootstrap/e2e && \
	go test -run '^$$' -bench ManyRolesOfOthers -benchtime 1000x ./bootstrap/e2e

.PHONY: test-plugin
test-plugin:
	$(GOBUILD) -tags $(TEST_TAGS) -ldflags '$(TEST_LDFLAGS)' -o bin/test/$(PLUGIN) ./cmd/$(PLUGIN)

.PHONY: mutants
mutants: ## Break the engine on purpose and check that a test fails each time (MUTANTS=regexp selects by name)
	VAULT_BIN="$$(scripts/vault.sh)" && export VAULT_BIN && \
	go run ./bootstrap/mutants -run '$(MUTANTS)' -ldflags '$(TEST_LDFLAGS)'

.PHONY: demo
demo: ## Try the engine in a real Vault with simulated remote systems (KEEP=1 keeps it running until Ctrl-C)
	@KEEP="$(KEEP)" VERSION="$(VERSION)" bootstrap/demo/demo.sh

.PHONY: vault
vault: ## Print the path of the Vault binary for tests and the demo, building it if necessary
	@scripts/vault.sh

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters
	$(GOLANGCI_LINT) run ./...

.PHONY: fmt
fmt: ## Format the Go code
	gofmt -w backend bootstrap cmd

.PHONY: fuzz
fuzz: ## Run every fuzz target briefly (FUZZTIME=10s each)
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: model
model: FOR := 60s
model: soak ## Check the engine against a model of its remote systems for a minute (SEED=123 repeats a run)

.PHONY: soak
soak: ## Run the model check for longer (FOR=10m)
	go test ./backend/rotation/modelcheck -count=1 -v -timeout 0 -model.for=$(FOR) -model.seed=$(SEED)

.PHONY: schema
schema: ## Validate the Plesk client's packets against Plesk's schemas (PLESK_XSD_DIR=folder)
	@scripts/check-packets.sh

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Check for known vulnerabilities with govulncheck
	@scripts/check-vulnerabilities.sh $(GOVULNCHECK)

.PHONY: clean
clean: ## Remove build output, except Vault
	find bin -mindepth 1 -maxdepth 1 ! -name 'vault' ! -name 'vault.lock' -exec rm -rf {} +

$(GOLANGCI_LINT):
	GOBIN="$(CURDIR)/$(@D)" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(GOVULNCHECK):
	GOBIN="$(CURDIR)/$(@D)" go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
