# `make test` is all that a fresh machine with Go needs: it installs
# redis-server where there is none, and runs every test.

.PHONY: test redis build check fmt generate bench

test: redis
	go test -race -timeout 30m ./...

# The tests start redis-server processes of their own, on free ports.
redis:
	@command -v redis-server >/dev/null || command -v valkey-server >/dev/null || sh tools/install-redis

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/headgate ./gateway

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

fmt:
	gofmt -w .

# The policy file's JSON Schema and reference page, from the types in policies/.
generate:
	go generate ./policies

bench:
	go test -run '^$$' -bench . -benchtime 1s ./...
