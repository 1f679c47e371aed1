# Short targets; what they need from Debian is in integration/install-deps.
export PATH := $(PATH):/usr/sbin:/sbin
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -X main.version=$(VERSION)
RACE     ?= $(if $(shell command -v gcc),-race)
FUZZTIME ?= 10s
TORTURE  ?= 2h

help: ## say what the targets do
	@awk -F': .*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/holdfast
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/holdfast ./cmd/holdfast

deb: ## make a Debian package in bin/; VERSION=1.2.3 and GOARCH=arm64 say which
	@integration/package/build deb $(VERSION)

rpm: ## make an RPM package in bin/
	@integration/package/build rpm $(VERSION)

test: ## run every test, with the race detector where there is a C compiler
	@integration/install-deps test
	go test $(RACE) -count=1 -timeout 45m ./...

lint: ## gofmt, vet, staticcheck and the arrows between packages
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test -count=1 -run 'Layers|Arrow' ./integration

demo: build ## back up a real disk image, change it, mount, copy, restore, compare
	@integration/install-deps
	@integration/demo.sh bin/holdfast

bench: build ## the figures of the README beside borg, restic and cp, in one run; ONLY=sweep,check: some; SCALE=500000000: of a vault of so many blocks
	@integration/install-deps bench
	go run ./integration/bench --holdfast bin/holdfast $(if $(ONLY),--only $(ONLY),--disk) $(if $(SCALE),--scale $(SCALE))

fuzz: ## run every fuzz target for FUZZTIME (10s)
	@grep -rho --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | wc -l | xargs echo "fuzz targets:"
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file func; do \
		echo "== $$(dirname $$file) $${func#func }"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) $$(dirname $$file) || exit 1; done

torture: ## random work, crashes, power losses and full disks for TORTURE (2h), as root
	@integration/install-deps test
	HOLDFAST_TORTURE=$(TORTURE) go test -count=1 -v -timeout 0 -run 'Torture|PowerLoss|ShutDown|Killed|EveryWrite|EverySync' \
		./blockstore ./integration/power

install-deps: ## install (as root) or name the Debian packages that all of these need
	@integration/install-deps test
	@integration/install-deps bench

clean: ## remove what was built
	rm -rf bin

.PHONY: help build deb rpm test lint demo bench fuzz torture install-deps clean
