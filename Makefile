# What one can do here; each target is a script of its own, named in its recipe.
# Variables: NODES (2), PGO_CACHE (builds that are kept), PGO_LOCAL_DIR (the running Kubernetes), KUBECONFIG,
# PGO_IMAGE_PREFIX, PGO_IMAGE_TAG, CCP_IMAGE_PREFIX, CCP_IMAGE_TAG (make push, make install), PUSH_ARGS (make push).

.DEFAULT_GOAL := help
.PHONY: help run stop clean install test test-fast simulate chaos bench fmt lint images push binaries local-up local-down local-status

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: ## everything on this machine: Kubernetes, PGO, a PostgreSQL cluster and its events
	@deploy/local/run.sh

stop: ## end everything that run started, and only that
	@deploy/local/stop.sh

clean: ## stop, and remove everything that was made
	@deploy/local/clean.sh

install: ## PGO on the cluster that KUBECONFIG names, images from PGO_IMAGE_PREFIX
	@deploy/install/install.sh

test: ## all checks and tests, the lifecycle tests on the local Kubernetes among them
	@deploy/local/test.sh

test-fast: ## the checks and tests that need no Kubernetes
	@deploy/local/test.sh fast

simulate: ## schedules of faults: so many (SEEDS=1000000), a range (SEEDS=5-9), or one again (SEED=123), WORLD=events or failover; MODEL=wide: the model of failover
	@SEED="$(SEED)" SEEDS="$(SEEDS)" CAMPAIGN="$(CAMPAIGN)" WORLD="$(WORLD)" MODEL="$(MODEL)" tests/simulation/run.sh

chaos: ## ten minutes of faults under clusters of three, on three nodes; other times: CHAOS_SECONDS=60, again: CHAOS_SEED=123, one mode: CHAOS_MODE=synchronous
	@CHAOS_SEED="$(CHAOS_SEED)" CHAOS_MODE="$(CHAOS_MODE)" tests/lifecycle/chaos.sh

bench: ## measure and print the figures, on the local Kubernetes
	@tests/bench/run.sh

fmt: ## format all sources
	cargo fmt --all
	gofmt -w deploy tests

lint: ## format and lint checks, warnings denied
	@deploy/local/lint.sh

binaries: ## the services, the agent, the client, nsqd and the local Kubernetes
	@deploy/local/build/build.sh
	@deploy/images/binaries.sh

images: binaries ## the container images
	@deploy/images/build.sh

push: images ## the container images to the registry that PGO_IMAGE_PREFIX and CCP_IMAGE_PREFIX name
	@deploy/images/push.sh

local-up: ## the local Kubernetes alone
	@deploy/local/packages.sh
	@deploy/local/build/build.sh
	@deploy/local/up.sh

local-down: ## end the local Kubernetes
	@deploy/local/down.sh

local-status: ## what of the local Kubernetes runs
	@deploy/local/status.sh
