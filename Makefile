# The one door. It holds no rules of compilation: bridge/Makefile, bridge/tests/Makefile and
# extension/Makefile do.
#
#   make              libpenstock and the command penstock, in build/; and the server's extension, where a
#                     server's headers are (PG_CONFIG=… for another than the newest; EXTENSION=no without)
#   make install      PREFIX (/usr/local), DESTDIR, libdir, mandir … honoured; the extension goes where
#                     pg_config says, below DESTDIR; also uninstall
#   make installcheck the tests of the installed extension, on the server that PGHOST, PGPORT … lead to
#   make check        every test: check-unit, check-fuzz, check-server, check-live, with ASan and UBSan
#                     (SAN=0 without; never in the server)
#   make check-server the same tests as installcheck, on a throwaway server
#   make check-unit T=strides      the tests of one stem; the same with check-live
#   make check-live SERVER=18      on a server of another version, which scripts/versions downloads
#   make fuzz         libFuzzer, FUZZ_SECONDS (60) a target
#   make coverage     line coverage of the decoders by the unit tests
#   make lint format  the rules that a machine checks; formatting by clang-format
#   make check-assert   the extension's and the live tests on a server with assertions, with caches
#                     thrown away, and below valgrind; builds that server once
#   make check-versions            the live tests on 9.6 to 18, and the extension's on 13, 15, 17 and 18
#                     (VERSIONS='--extension 18' for some of it; as root, on Debian)
#   make soak         kills of client, walsender and server beside a change capture: N= kills (1,000),
#                     SEED= repeats a run
#   make demo bench                see README.md
BRIDGE := $(MAKE) --no-print-directory -C bridge
TESTS := $(MAKE) --no-print-directory -C bridge/tests
CLUSTER := scripts/cluster --tls --standby
EXTENSION_DOOR := scripts/extension

# Targets here run one after another, since they share build/; what they call uses every CPU.
.NOTPARALLEL:
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

all: deps
	+@$(BRIDGE) all
	+@$(EXTENSION_DOOR) build

install: deps
	+@$(BRIDGE) install
	+@$(EXTENSION_DOOR) install

uninstall:
	+@$(BRIDGE) uninstall
	+@$(EXTENSION_DOOR) uninstall

installcheck:
	@regress/run $(RESULTS:%=--results %) $(if $(T),$(T:%='%'))

deps:
	@scripts/deps build

deps-check:
	@scripts/deps check

# With ASan and UBSan, unless SAN=0 is given.
check: SAN ?= 1
check:
	@$(MAKE) --no-print-directory SAN=$(SAN) RESULTS=$(CURDIR)/build/check.results begin-check \
		check-unit check-fuzz check-model check-server check-live
	@scripts/tally build/check.results

begin-check:
	@mkdir -p build && : >build/check.results


# The rules of change capture as an executable specification: each holds, and each wrong one is caught.
check-model:
	@python3 regress/model/cdc_model.py --suite

check-unit: deps-check
	+@$(TESTS) check-unit

check-fuzz: deps-check
	+@$(TESTS) check-fuzz

# Without a server's headers regress/run says that there is nothing to be tested.
check-server: deps-check
	+@stage=$$($(EXTENSION_DOOR) stage) && config=$$($(EXTENSION_DOOR) pg-config) && \
		set -- regress/run $(RESULTS:%=--results %) $(if $(T),$(T:%='%')) && \
		if [ -z "$$stage" ]; then "$$@"; else \
			scripts/cluster --bin "$$("$$config" --bindir)" --extension "$$stage" -- "$$@"; fi

# Built before the server starts, so that a compile error costs no server. With the extension in every
# database, so that reads are assisted, where it can be built for the server; SERVER=… has no headers:
# there reads are plain.
check-live: deps-check
	@$(if $(SERVER),scripts/deps servers)
	+@$(BRIDGE) all
	+@$(TESTS) build
	+@$(if $(SERVER), \
		bin=$$(scripts/versions $(SERVER)) && set -- --bin "$${bin#*	}", \
		stage=$$($(EXTENSION_DOOR) stage) && config=$$($(EXTENSION_DOOR) pg-config) && \
		if [ -z "$$stage" ]; then set --; else \
			set -- --bin "$$("$$config" --bindir)" --extension "$$stage" \
				--template "CREATE EXTENSION penstock"; fi) && \
		$(CLUSTER) "$$@" -- $(TESTS) check-live

# Unit tests and fuzz seeds only: a live test must not be what keeps a decoder covered.
coverage: deps-check
	@rm -rf build/cov/test/obj/*.gcda
	+@$(TESTS) COV=1 RESULTS= check-unit check-fuzz
	@scripts/coverage build/cov $(if $(MISSED),--missed)

fuzz: deps-check
	@scripts/deps lint
	+@$(TESTS) fuzz

lint: deps-check
	@scripts/deps lint
	+@$(BRIDGE) all
	+@$(EXTENSION_DOOR) build
	+@$(TESTS) build
	@scripts/lint $(RESULTS:%=--results %)

# The tables of docs/bridge.md that come from the code.
docs: deps-check
	+@$(TESTS) $(CURDIR)/build/test/unit/docs_test
	@scripts/docs build

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

demo: all
	@scripts/deps demo
	@scripts/demo

soak: all
	@scripts/deps check
	+@$(TESTS) build
	@scripts/soak $(N:%=--kills %) $(SEED:%=--seed %)

bench: all
	@scripts/deps check
	@bench/run

check-assert: all
	@scripts/deps assert
	+@$(TESTS) build
	@scripts/check-assert $(if $(T),$(T:%='%'))

check-versions: all
	@scripts/deps check servers debian
	+@$(TESTS) build
	@scripts/check-versions $(VERSIONS)

# The tree of HEAD, with the version of the header in its name.
dist:
	@mkdir -p build
	git archive --prefix=penstock-$$($(BRIDGE) -s version)/ -o build/penstock-$$($(BRIDGE) -s version).tar.gz HEAD

clean:
	rm -rf build

.PHONY: all install uninstall installcheck deps deps-check check begin-check check-unit check-fuzz \
	check-model check-server check-live coverage fuzz lint docs format demo bench soak check-assert check-versions dist \
	clean
