# `make test` is all that a fresh machine with Go needs: it installs
# redis-server, haproxy, nginx and python3 where they are missing, and runs every
# test. Tests with app servers on node are skipped where there is no node.

.PHONY: test test-servers build image check fmt generate bench conformance chaos

# What `headgate version` says.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
OUT ?= bin/headgate

test: test-servers
	go test -race -timeout 30m ./...

# The tests start processes of these of their own, on free ports.
test-servers:
	@sh tools/install-test-servers

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o "$(OUT)" ./gateway

image:
	docker build --build-arg VERSION=$(VERSION) -t headgate .

# What must hold besides the tests.
check:
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	go mod verify
	go mod tidy -diff
	go vet ./...
	go tool staticcheck ./...
	go build ./...
	for policy in policies/*.yaml examples/*/headgate.yaml; do \
		case $$policy in *_test.yaml) continue;; esac; \
		go run ./gateway check $$policy || exit 1; done
	go run ./gateway test policies/*.yaml examples/*/headgate.yaml

fmt:
	gofmt -w .

# The policy file's JSON Schema and reference page, from the types in policies/.
generate:
	go generate ./policies

bench:
	go test -run '^$$' -bench . -benchtime 1s ./...

# The public HTTP caching test suite, from npm; it needs node: on one gateway, on
# one with Redis, and on two behind a balancer, which score alike. The floors are
# those of its release 0.4.5, see tools/conformance. And h2spec, from the Go
# module proxy, all of whose cases pass; where it can't be had, that is said.
conformance:
	go run ./tools/conformance -h2spec 146
	go run ./tools/conformance -strict -required 140 -optimal 77
	go run ./tools/conformance -strict -required 140 -optimal 77 -redis
	go run ./tools/conformance -strict -required 140 -optimal 77 -redis -instances 2

# Everything fails, under load: processes, Redis, networks, app servers; see
# tools/chaos. CHAOS is how long, over standalone Redis, Sentinels and a Cluster.
CHAOS ?= 10m
chaos: test-servers
	go run ./tools/chaos -for $(CHAOS)
