# AI Ops: from an empty machine to predictions (make demo), and every test (make test). `make` alone lists the goals.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CACHE := $(or $(AIOPS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/aiops)
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(CACHE)/bin:$(PATH)

# `local` is the cluster of e2e/cluster; `existing` is the one that KUBECONFIG names.
export CLUSTER ?= local
# Everything that the local cluster keeps.
export CLUSTER_STATE ?= /var/tmp/aiops-cluster
ifeq ($(CLUSTER),local)
export KUBECONFIG := $(CLUSTER_STATE)/admin.kubeconfig
endif
export RELEASE_NAMESPACE ?= aiops

IMAGES := operator inference-pod trainer mlflow postgresql minio
CLUSTER_IMAGES := pause coredns metrics-server
CARGO_DENY := 0.20.2
export CARGO_FUZZ := 0.13.2
# How long each fuzz target runs.
export FUZZ_SECONDS ?= 20
SHELL_FILES := git ls-files -z ':!*.md' | xargs -0 grep -lIE '^\#!.*\bbash\b|^\# shellcheck shell=bash'

.PHONY: help
help:
	@printf '%s\n' \
	  'make demo        everything from an empty machine to predictions' \
	  'make demo-down   takes the local cluster away again' \
	  'make test        every test' \
	  'make lint | test-rust | test-fuzz | test-openapi | test-conformance | test-python | scenarios [FILTER=name]   parts of it' \
	  'make fuzz       the fuzz targets of the inference pod (FUZZ_SECONDS=600: as long each; FUZZ=http_body: only that one)' \
	  'make instructions   instructions of the codec, the router and the batcher against bench/baseline (UPDATE=1 writes it)' \
	  'make bench       speed against other servers, into bench/report (BENCH=quick: minutes; hours otherwise)' \
	  'make images | cluster | chart      brings a change into the cluster' \
	  'make kubeconfig  prints the path of the kubeconfig' \
	  'CLUSTER=existing KUBECONFIG=…      uses a cluster that exists' \
	  'IMAGE_REGISTRY=…                   where images are pushed to'

# ---- goals

.PHONY: demo demo-down test kubeconfig
demo:
	@make/run-stages demo packages tools images cluster chart samples

demo-down:
	@make/demo-down

test:
	@make/run-stages test packages tools lint test-rust test-fuzz test-openapi test-conformance test-python images test-images instructions cluster $(if $(filter local,$(CLUSTER)),test-cluster) chart test-chart scenarios

kubeconfig:
	@echo "$(KUBECONFIG)"

# ---- set-up

.PHONY: packages tools images cluster chart
packages:
	@e2e/cluster/install-packages

tools:
	@e2e/cluster/build-tools
	@inference-pod/fetch-onnxruntime >/dev/null

images:
	@images/build $(IMAGES) $(if $(filter local,$(CLUSTER)),$(CLUSTER_IMAGES))

cluster:
	@make/cluster $(IMAGES)

chart:
	@make/install-chart

.PHONY: samples
samples:
	@cargo run --quiet --locked --package aiops-e2e -- demo

# ---- tests

.PHONY: lint lint-rust lint-python lint-shell lint-chart verify-generated
lint: lint-shell lint-python lint-rust verify-generated lint-chart

lint-rust:
	cargo fmt --all --check
	cargo fmt --manifest-path inference-pod/fuzz/Cargo.toml --check
	cargo clippy --quiet --locked --workspace --all-targets -- --deny warnings
	"$$(make/rust-tool cargo-deny $(CARGO_DENY))" --log-level error check bans licenses sources

lint-python:
	make/lint-python

lint-shell:
	$(SHELL_FILES) | xargs shellcheck --external-sources

lint-chart:
	charts/tests/run

verify-generated:
	cargo xtask verify

# Needs the network, for the list of advisories.
.PHONY: audit
audit:
	"$$(make/rust-tool cargo-deny $(CARGO_DENY))" check advisories

.PHONY: test-rust test-fuzz fuzz test-openapi test-conformance test-python test-images test-cluster test-chart scenarios
test-rust:
	make/test-rust

fuzz test-fuzz:
	make/fuzz $(FUZZ)

test-openapi:
	inference-pod/tests/openapi/run

test-conformance:
	inference-pod/tests/conformance/run --quiet

test-python: export AIOPS_MINIO = $(CACHE)/bin/minio
test-python:
	make/test-python

test-images:
	images/test $(IMAGES)

test-cluster:
	e2e/cluster/test "$(CLUSTER_STATE)"

test-chart:
	charts/tests/run --cluster -m cluster

scenarios:
	@cargo run --quiet --locked --package aiops-e2e -- run $(FILTER)

# ---- speed

# What a machine is doing besides does not change how many instructions are counted, so these may fail; times never do.
.PHONY: bench instructions
instructions:
	@bench/instructions/run $(if $(UPDATE),--update)

bench:
	@bench/run
