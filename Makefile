# Plumbline's targets. `make` alone lists them.
#
# What tests need beyond Go, Git and Terraform is built from Go modules by the
# project itself, once, into plumbline/parts in the user's cache.

.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build ./plumbline, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o plumbline ./cmd/plumbline

.PHONY: demo
demo: build ## Run the main job on a toy cloud, with nothing to sign up for
	./plumbline demo

.PHONY: test
test: parts ## Run the tests
	go vet ./...
	go test -timeout 40m ./...
	@go test -v -run '^TestCorpus$$' ./drift | sed -n 's/^ *corpus_test.go:[0-9]*: //p'

.PHONY: parts
parts: ## Build the real providers that tests use, into a cache
	go run ./internal/parts/build mirror

.PHONY: e2e
e2e: ## Run the tests whose parts take long to get: OpenTofu, S3, Gitea, PostgreSQL, Kubernetes
	go run ./internal/parts/build all
	go test -timeout 60m -tags e2e ./...
	go test -timeout 60m -tags e2e,postgres ./runner/engine

.PHONY: race
race: parts ## Run the tests with the race detector
	go test -timeout 60m -race ./...

.PHONY: bench
bench: ## Measure against Git and Terraform themselves, and print one table: an hour or two
	go run ./internal/parts/build all
	{ \
	  go test -run '^$$' -bench 'Serve|PlanAll|Merge|Monorepo|Supersede' -benchtime 5x -timeout 120m ./cmd/plumbline; \
	  go test -run '^$$' -bench 'Sweep' -benchtime 5x -timeout 60m ./cmd/plumbline; \
	  go test -run '^$$' -bench 'Races|Crowd|Idle' -benchtime 1x -timeout 60m ./cmd/plumbline; \
	  go test -run '^$$' -bench . -benchtime 3x -timeout 60m ./workspaces ./prcomment ./planstore ./drift ./internal/gitrepo ./internal/terraform ./internal/schedule; \
	  go test -tags e2e -run '^$$' -bench S3 -benchtime 1x -timeout 30m ./planstore; \
	  go test -tags e2e -run '^$$' -bench 'FirstPaint|APIWorkspaces' -benchtime 15x -timeout 30m ./web; \
	  go test -run '^$$' -bench Watchers -benchtime 1x -timeout 30m ./web; \
	} | go run ./internal/benchtable

.PHONY: lint
lint: ## Run the linters that .golangci.yml allows
	go run $(GOLANGCI) run --build-tags e2e,postgres ./...

.PHONY: schema
schema: ## Write the JSON Schema of plumbline.yaml anew
	go run ./cmd/plumbline validate --schema > docs/plumbline.schema.json

.PHONY: tidy
tidy: ## Tidy go.mod and format the code
	go mod tidy
	gofmt -w $$(git ls-files '*.go')

.PHONY: clean
clean: ## Remove what make built in the checkout
	rm -rf plumbline dist
