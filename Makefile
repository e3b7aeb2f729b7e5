# `make demo` and `make test` do all the set-up that they need.

SWIFT ?= swift
SWIFTC ?= swiftc
PYTHON ?= python3
RELEASE = .build/release/uring-rawlog
# The drop-in for Dovecot's rawlog; the same build makes it, without anything that is linked when it starts.
RAWLOG = .build/release/rawlog
# The Swift runtime goes into the program: it runs where no Swift is installed.
RELEASE_FLAGS = -c release --static-swift-stdlib

.PHONY: all demo test unit-test end-to-end-test test-epoll instructions bench bench-quick check format sanitize sim fuzz install clean

all: build

.PHONY: build
build:
	scripts/install-dependencies build
	$(SWIFT) build $(RELEASE_FLAGS)

# Records a real mail session on loopback through the relay and shows the recording.
demo: build
	$(PYTHON) demo/demo.py $(RELEASE)

test:
	scripts/install-dependencies test
	$(MAKE) unit-test
	$(MAKE) end-to-end-test

# Unit tests run as fast code, so that ten thousand seeds of the simulation take a minute; assertions stay. Such a build
# cannot have the drop-in as Embedded Swift. While working, `swift test --disable-xctest` builds sooner and runs fewer.
UNIT_TEST = URING_RAWLOG_WHOLE_RUNTIME=1 $(SWIFT) test -c release --scratch-path .build-tests -Xswiftc -enable-testing \
  -Xswiftc -assert-config -Xswiftc Debug --disable-xctest
unit-test:
	SIMULATION_SEEDS=10000 $(UNIT_TEST)

end-to-end-test: build
	URING_RAWLOG=$(abspath $(RELEASE)) RAWLOG=$(abspath $(RAWLOG)) $(PYTHON) scripts/run-end-to-end

# All end-to-end tests with the relay on epoll instead of io_uring; `make test` runs a choice of them so.
test-epoll: build
	scripts/install-dependencies test
	URING_RAWLOG=$(abspath $(RELEASE)) RAWLOG=$(abspath $(RAWLOG)) URING_RAWLOG_ENGINE=epoll \
	  $(PYTHON) scripts/run-end-to-end

# What the relay's work costs in instructions, beside the budgets. `make test` compares them too.
instructions: build
	scripts/install-dependencies test
	URING_RAWLOG=$(abspath $(RELEASE)) scripts/count-instructions

# The whole benchmark, beside the programs that do something similar; make bench BENCH_OUTPUT=bench-results/NAME.json
BENCH_OUTPUT ?= bench-results/latest.json
bench: build
	scripts/install-dependencies bench
	mkdir -p $(dir $(BENCH_OUTPUT))
	URING_RAWLOG_COMMIT=$$(git describe --always --dirty 2>/dev/null) $(RELEASE) bench --peers --output $(BENCH_OUTPUT)

# Sessions of all kinds while everything around the relays goes wrong, and a ledger of it; SOAK_OUTPUT=NAME keeps it.
SOAK_SECONDS ?= 3600
SOAK_SEED ?= $(shell date +%s)
SOAK_OUTPUT ?=
.PHONY: soak soak-short
soak: build
	scripts/install-dependencies test
	URING_RAWLOG=$(abspath $(RELEASE)) scripts/soak --seconds $(SOAK_SECONDS) --seed $(SOAK_SEED) \
	  $(if $(SOAK_OUTPUT),--output $(SOAK_OUTPUT))

soak-short:
	$(MAKE) soak SOAK_SECONDS=600

# Idle sessions, connects a second, a stalled peer among a thousand.
.PHONY: load
load: build
	URING_RAWLOG=$(abspath $(RELEASE)) scripts/load

# An answer within a minute or so; nothing to quote.
bench-quick: build
	$(RELEASE) bench --quick

# Format, warnings (they are errors in every build) and sanitizers.
check:
	scripts/install-dependencies test
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift
	$(MAKE) sanitize

sanitize:
	LSAN_OPTIONS=suppressions=$(abspath Tests/leaks.supp) \
	  $(SWIFT) test --disable-xctest --sanitize=address --scratch-path .build-address
	$(SWIFT) test --disable-xctest --sanitize=thread --scratch-path .build-thread

format:
	$(SWIFT) format format --in-place --recursive Sources Tests Package.swift

# make sim SEED=1 SEEDS=10000: the loop over the simulated ring, any number of seeds.
SEED ?= 1
SEEDS ?= 10000
sim:
	scripts/install-dependencies build
	SIMULATION_SEED=$(SEED) SIMULATION_SEEDS=$(SEEDS) $(UNIT_TEST) --filter SimulationTests

# What nobody would think of, for whatever reads what peers send: the scanners of mail dialogues, the relay's own part in
# STARTTLS, PROXY headers; make fuzz FUZZ_SECONDS=3600, for each of them, or FUZZ_TARGETS=proxy
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= dialogue starttls proxy
FUZZ = .build/fuzz
FUZZ_SWIFTC = $(SWIFTC) -swift-version 6 -O -use-ld=lld -sanitize=fuzzer,address -parse-as-library

FUZZ_SOURCES_dialogue = $(wildcard Sources/UringRawlog/Mail/*.swift) Tests/Fuzz/DialogueFuzz.swift
FUZZ_SOURCES_starttls = $(addprefix Sources/UringRawlog/Mail/,StartTLSExchange.swift StartTLSOffer.swift \
  MailProtocol.swift LiteralHeader.swift) Tests/Fuzz/StartTLSFuzz.swift
FUZZ_SOURCES_proxy = $(wildcard Sources/UringRawlog/Proxy/*.swift Sources/UringRawlog/Text/*.swift) \
  Sources/UringRawlog/Network/PeerAddress.swift Tests/Fuzz/ProxyFuzz.swift

.SECONDEXPANSION:
$(FUZZ)/dialogue $(FUZZ)/starttls $(FUZZ)/proxy: $(FUZZ)/%: $$(FUZZ_SOURCES_$$*)
	mkdir -p $(FUZZ)/corpus-$*
	$(FUZZ_SWIFTC) -module-name $*Fuzz -o $@ $^

fuzz: $(addprefix fuzz-,$(FUZZ_TARGETS))

.PHONY: fuzz-dialogue fuzz-starttls fuzz-proxy
fuzz-dialogue fuzz-starttls fuzz-proxy: fuzz-%: fuzz-packages $(FUZZ)/%
	mkdir -p $(FUZZ)/corpus-$*
	SWIFT_BACKTRACE=enable=no $(FUZZ)/$* -max_total_time=$(FUZZ_SECONDS) -max_len=6000 -print_final_stats=1 \
	  -dict=Tests/Fuzz/$*.dict -artifact_prefix=$(FUZZ)/ $(FUZZ)/corpus-$* Tests/Fuzz/corpus-$*

.PHONY: fuzz-packages
fuzz-packages:
	scripts/install-dependencies build

# The library needs its C targets; the package manager has made them ready for it.
FUZZ_OPTIMIZATION ?= -O -wmo
READERS_FUZZER = .build/fuzz/readers
C_TARGETS = $(foreach name,CLibUring COpenSSL CZstd,-Xcc -fmodule-map-file=.build/release/$(name).build/module.modulemap)
.PHONY: fuzz-readers
fuzz-readers: build
	mkdir -p .build/fuzz/readers-corpus
	test -e .build/fuzz/captures || (mkdir -p .build/fuzz/captures && \
	  $(RELEASE) sample-captures --sessions 3 --seed 5 --rotate-size 1G --dir .build/fuzz/captures)
	for file in .build/fuzz/captures/*.pcapng; do (printf '\002'; cat $$file) >.build/fuzz/readers-corpus/capture; done
	for file in .build/fuzz/captures/*.idx; do (printf '\000'; cat $$file) >.build/fuzz/readers-corpus/side; done
	cp .build/fuzz/captures/*.pcapng .build/fuzz/captures/*.idx .build/fuzz/ && $(RELEASE) compress .build/fuzz/*.pcapng
	for file in .build/fuzz/*.pcapng.zst; do (printf '\001'; cat $$file) >.build/fuzz/readers-corpus/zst; rm $$file; done
	$(SWIFTC) -swift-version 6 $(FUZZ_OPTIMIZATION) -use-ld=lld -sanitize=fuzzer,address -parse-as-library \
	  -module-name ReadersFuzz -package-name fuzz \
	  $(C_TARGETS) -o $(READERS_FUZZER) $$(find Sources/UringRawlog -name '*.swift') Tests/Fuzz/ReadersFuzz.swift \
	  .build/release/CLibUring.build/*.o .build/release/COpenSSL.build/*.o -luring -lssl -lcrypto -lzstd
	SWIFT_BACKTRACE=enable=no $(READERS_FUZZER) -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -print_final_stats=1 \
	  -artifact_prefix=.build/fuzz/ .build/fuzz/readers-corpus Tests/Fuzz/corpus-readers

PREFIX ?= /usr/local
install: build
	install -D -m 755 $(RELEASE) $(DESTDIR)$(PREFIX)/bin/uring-rawlog
	install -D -m 755 $(RAWLOG) $(DESTDIR)$(PREFIX)/bin/rawlog
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/local/bin,$(PREFIX)/bin,' packaging/uring-rawlog.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/uring-rawlog.service
	install -m 644 packaging/uring-rawlog.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/uring-rawlog.socket
	install -D -m 644 docs/man/uring-rawlog.1 $(DESTDIR)$(PREFIX)/share/man/man1/uring-rawlog.1
	install -D -m 644 docs/man/rawlog.1 $(DESTDIR)$(PREFIX)/share/man/man1/rawlog.1

clean:
	rm -rf .build .build-*
