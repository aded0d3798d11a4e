# svckit. `make help` lists the targets.
#
# Tests, demo and benchmarks run in a lab: a Docker engine of their own in a
# network namespace of its own. They need root (sudo make test) and touch
# neither your Docker engine nor your ports.

SHELL := /bin/bash
GO    := $(or $(shell command -v go),/usr/local/go/bin/go)
export PATH := $(dir $(GO)):$(PATH):/usr/sbin:/sbin
LAB   := bin/lab
# Another name lets two runs go on side by side: make test NAME=mine
NAME  ?=
PREFIX ?= /usr/local
SHARE  = $(DESTDIR)$(PREFIX)/share
# Programs know their commit, unless git cannot read this folder (another owner, no repository).
VCS = $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)
# Tests of these play more worlds without the race detector than with it.
MODELS = ./lib/hand ./lib/timetable
PROGRAMS = $(notdir $(wildcard cmd/*))

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-scale demo-fleet test unit check docs bench bench-host bench-live bench-scale build install clean lab lab-down lab-clean $(LAB)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(LAB) ## install and build what tests and demo need (once: about 7 minutes)
	@$(LAB) setup

demo: setup build ## see svckit work: build, run, replace under load, roll back
	@$(LAB) run --name $(or $(NAME),demo) --wait 30m -- ./lab/demo/run.sh

demo-scale: setup build ## see scaled work: load, an announcement, a freeze, a collapse, a queue
	@$(LAB) run --name $(or $(NAME),demo-scale) --wait 30m -- ./lab/demo/scale.sh

demo-fleet: setup build ## see playbooks on five machines: site, deploys, one that comes back, reload, drain
	@./lab/demo/fleet.sh $(or $(NAME),demo-fleet)

test: setup ## every test, with real Consul, Docker and registry
	@$(LAB) run --name $(or $(NAME),test) --wait 30m -- sh -c \
		'go test -count=1 $(MODELS) && go test -race -count=1 -tags real -timeout 40m -exec "$$SVCKIT_LAB_EXEC" ./...'

unit: ## tests that need neither Docker nor Consul nor root
	@go test -race ./... && go test $(MODELS)

check: $(LAB) ## format, vet, lint, import arrows, generated docs
	@tools/check.sh

docs: ## write the man pages in docs/man from the programs
	@tools/docs.sh

bench: setup build ## compare with docker run and docker build, and with other DNS servers
	@$(LAB) run --name $(or $(NAME),bench) --wait 30m -- sh -c './bench/run.sh && ./bench/dns/run.sh'

bench-host: setup build ## measure commands and daemons on a host with 200 services (5 minutes)
	@$(LAB) run --name $(or $(NAME),bench-host) --wait 30m -- ./bench/host/run.sh $(BENCH)

bench-live: setup build ## measure the autoscaler at work: reaction, traces on real gunicorn, 500 services (12 minutes)
	@$(LAB) run --name $(or $(NAME),bench-live) --wait 30m -- ./bench/live/run.sh $(BENCH)

bench-scale: ## play the scaling rule and its peers on every trace: the tables of docs/scaling.md (an hour of one core)
	@go build -buildvcs=$(VCS) -o bin/bench-scale ./bench/scale && nice bin/bench-scale

build: ## build the programs into bin/
	@if [ -n "$(PROGRAMS)" ]; then CGO_ENABLED=0 go build -trimpath -buildvcs=$(VCS) -o bin/ $(PROGRAMS:%=./cmd/%); fi

install: build ## install programs, man pages and completions below PREFIX (/usr/local)
	install -d $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(PROGRAMS:%=bin/%)
	install -m 0644 -t $(SHARE)/man/man1 $(PROGRAMS:%=docs/man/%.1)
	@set -e; for p in $(PROGRAMS); do \
		bin/$$p completion bash >$(SHARE)/bash-completion/completions/$$p; \
		bin/$$p completion zsh  >$(SHARE)/zsh/site-functions/_$$p; \
		bin/$$p completion fish >$(SHARE)/fish/vendor_completions.d/$$p.fish; \
	done

clean: ## remove what was built here; the cache in ~/.cache/svckit stays
	rm -rf bin

lab: setup build ## a fleet of 5 machines to ssh into, until Ctrl-C or make lab-down
	@$(LAB) fleet --machines --servers 0 --far 1 --ansible bin/fleet --name $(or $(NAME),fleet) || [ $$? -ge 130 ]

lab-down: $(LAB) ## end that fleet, and remove every trace of one that was killed
	@$(LAB) down --name $(or $(NAME),fleet)

lab-clean: $(LAB) ## remove what killed runs of the lab left behind
	@$(LAB) clean

$(LAB):
	@go build -buildvcs=false -o $(LAB) ./lab/cmd/lab
