# "make" lists what there is. Everything needs Go, git and make only; what a target builds goes into bin/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The newest release in CHANGELOG.md; a release build names its own.
VERSION ?= $(shell scripts/version.sh)
# Where "make build" puts what it builds.
BIN := bin
# Go test's -fuzztime of each fuzz target.
FUZZTIME ?= 10s
# How long "make soak" goes on, and the first seed of the model check; 0: a fresh one.
FOR ?= 10m
SEED ?= 0

PLUGIN := vault-plugin-secrets-hosting
# With one leading "v", which Vault asks for.
LDFLAGS := -X main.version=v$(VERSION:v%=%)
# Tests of retries run against a plugin that waits a twentieth of the time.
TEST_LDFLAGS := $(LDFLAGS) -X $(PLUGIN)/backend/rotation.timescale=20
# They also stop it between two steps, which a release build has no code for: see backend/rotation/failpoint.
TEST_TAGS := failpoints
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.8.0
TOOLS := bin/tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
GOVULNCHECK := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck

# A go.work in a folder above is somebody else's.
export GOWORK := off

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the plugin and the simulator into bin/ (VERSION=v1.2.3)
	$(GOBUILD) -ldflags '-s -w $(LDFLAGS)' -o $(BIN)/$(PLUGIN) ./cmd/$(PLUGIN)
	$(GOBUILD) -o $(BIN)/hosting-simulator ./cmd/hosting-simulator

.PHONY: test
test: test-plugin ## Run all tests, those with a real Vault too (built at first: minutes)
	VAULT_BIN="$$(scripts/vault.sh)" && export VAULT_BIN && \
	PLUGIN_BIN="$(CURDIR)/bin/test/$(PLUGIN)" go test -count=1 -timeout 15m ./...

.PHONY: race
race: ## Run all tests with the race detector, in the plugin too (needs a C compiler)
	@command -v "$$(go env CC)" >/dev/null || { echo "the race detector needs a C compiler, and there is no $$(go env CC)" >&2; exit 1; }
	CGO_ENABLED=1 go build -race -tags $(TEST_TAGS) -trimpath -buildvcs=false -ldflags '$(TEST_LDFLAGS)' -o bin/race/$(PLUGIN) ./cmd/$(PLUGIN)
	@scripts/race.sh bin/race/$(PLUGIN)

.PHONY: bench
bench: test-plugin ## Measure, and print ratios: 10,000 roles due at once, a start with 100,000, reads while a push hangs
	go test -run '^$$' -bench . -benchtime 1x ./backend/rotation
	VAULT_BIN="$$(scripts/vault.sh)" && export VAULT_BIN && export PLUGIN_BIN="$(CURDIR)/bin/test/$(PLUGIN)" && \
	go test -run '^$$' -bench Start -benchtime 3x ./cmd/$(PLUGIN) && \
	go test -run '^$$' -bench Reading -benchtime 5s ./cmd/$(PLUGIN)

.PHONY: test-plugin
test-plugin:
	$(GOBUILD) -tags $(TEST_TAGS) -ldflags '$(TEST_LDFLAGS)' -o bin/test/$(PLUGIN) ./cmd/$(PLUGIN)

.PHONY: mutants
mutants: ## Break the engine on purpose, and see that tests notice (MUTANTS=regular expression)
	VAULT_BIN="$$(scripts/vault.sh)" && export VAULT_BIN && \
	go run ./bootstrap/mutants -run '$(MUTANTS)' -ldflags '$(TEST_LDFLAGS)'

.PHONY: demo
demo: ## Try it out on a real Vault with simulated remote systems (KEEP=1: until Ctrl-C)
	@KEEP="$(KEEP)" VERSION="$(VERSION)" bootstrap/demo/demo.sh

.PHONY: vault
vault: ## Print the path of the Vault for tests and demo; build it if there is none
	@scripts/vault.sh

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters
	$(GOLANGCI_LINT) run ./...

.PHONY: fmt
fmt: ## Format the Go code
	gofmt -w backend bootstrap cmd

.PHONY: fuzz
fuzz: ## Run every fuzz target for a short time (FUZZTIME=10s)
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: model
model: FOR := 60s
model: soak ## Check the engine against a model of its remote systems for a minute (SEED=123: a story again)

.PHONY: soak
soak: ## The same for as long as you like (FOR=10m)
	go test ./backend/rotation/modelcheck -count=1 -v -timeout 0 -model.for=$(FOR) -model.seed=$(SEED)

.PHONY: schema
schema: ## Check the packets that the Plesk client sends against Plesk's schemas
	@scripts/check-packets.sh

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Look for known vulnerabilities
	@scripts/check-vulnerabilities.sh $(GOVULNCHECK)

.PHONY: clean
clean: ## Remove what was built, but for Vault
	find bin -mindepth 1 -maxdepth 1 ! -name 'vault' ! -name 'vault.lock' -exec rm -rf {} +

$(GOLANGCI_LINT):
	GOBIN="$(CURDIR)/$(@D)" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(GOVULNCHECK):
	GOBIN="$(CURDIR)/$(@D)" go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
