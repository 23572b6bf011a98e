# The one door. It holds no rules of compilation: bridge/Makefile and bridge/tests/Makefile do.
#
#   make              libpenstock and the command penstock, in build/
#   make install      PREFIX (/usr/local), DESTDIR, libdir, mandir … honoured; also uninstall
#   make check        every test: check-unit, check-fuzz, check-live (SAN=1 with ASan and UBSan)
#   make check-unit T=strides      the tests of one stem; the same with check-live
#   make fuzz         libFuzzer, FUZZ_SECONDS (60) a target
#   make coverage     line coverage of the decoders by the unit tests
#   make lint format  the rules that a machine checks; formatting by clang-format
#   make demo bench check-versions      see README.md
BRIDGE := $(MAKE) --no-print-directory -C bridge
TESTS := $(MAKE) --no-print-directory -C bridge/tests
CLUSTER := scripts/cluster --tls --standby

all: deps
	@$(BRIDGE) all

install: deps
	@$(BRIDGE) install

uninstall:
	@$(BRIDGE) uninstall

deps:
	@scripts/deps build

deps-check:
	@scripts/deps check

check: check-unit check-fuzz check-live

check-unit: deps-check
	@$(TESTS) check-unit

check-fuzz: deps-check
	@$(TESTS) check-fuzz

# Built before the server starts, so that a compile error costs no server.
check-live: deps-check
	@$(BRIDGE) all
	@$(TESTS) build
	@$(CLUSTER) -- $(TESTS) check-live

# Unit tests and fuzz seeds only: a live test must not be what keeps a decoder covered.
coverage: deps-check
	@rm -rf build/cov/test/obj/*.gcda
	@$(TESTS) COV=1 RESULTS= check-unit check-fuzz
	@scripts/coverage build/cov $(if $(MISSED),--missed)

fuzz: deps-check
	@scripts/deps lint
	@$(TESTS) fuzz

lint: deps-check
	@scripts/deps lint
	@$(BRIDGE) all
	@$(TESTS) build
	@scripts/lint $(RESULTS:%=--results %)

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

demo: all
	@scripts/deps demo
	@scripts/demo

bench: all
	@scripts/deps check
	@bench/run

check-versions: all
	@scripts/deps check
	@scripts/check-versions

# The tree of HEAD, with the version of the header in its name.
dist:
	@mkdir -p build
	git archive --prefix=penstock-$$($(BRIDGE) -s version)/ -o build/penstock-$$($(BRIDGE) -s version).tar.gz HEAD

clean:
	rm -rf build

.PHONY: all install uninstall deps deps-check check check-unit check-fuzz check-live coverage fuzz \
	lint format demo bench check-versions dist clean
