# The targets of sluice; `make help` lists them.
PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo

bindir   = $(DESTDIR)$(PREFIX)/bin
mandir   = $(DESTDIR)$(PREFIX)/share/man
etcdir   = $(DESTDIR)$(PREFIX)/share/sluice
unitdir  = $(DESTDIR)$(PREFIX)/lib/systemd/system
bashdir  = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir   = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir  = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d

release  = $(or $(CARGO_TARGET_DIR),target)/release
programs = $(notdir $(patsubst %/,%,$(wildcard bins/*/)))
pages    = $(wildcard man/*.[1-8])
samples  = $(filter-out %.service %.socket,$(wildcard bins/*/etc/*))
units    = $(wildcard bins/*/etc/*.service bins/*/etc/*.socket)

.DEFAULT_GOAL := help
.PHONY: help build run test test-majors check bench fuzz man install uninstall clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 13

build:  ## build the release programs
	$(CARGO) build --release --locked $(addprefix -p ,$(programs))

run:  ## PostgreSQL, poolerd, an example service and throttle-proxy on 127.0.0.1, until Ctrl-C
	@scripts/run

test:  ## run every test, real PostgreSQL and drivers included
	@scripts/test

test-majors:  ## boot PostgreSQL 12 to 18 on what pgtune prints (fetches 400 MB of servers)
	@scripts/test-majors

check:  ## format, lints, tests, man pages, dependency policy: a line a stage
	@scripts/check

bench:  ## compare with what people use instead, on this machine; BENCH=pooler, http, overload or tuning: one of them
	@scripts/bench $(BENCH)

fuzz:  ## run each fuzz target for FUZZ_SECONDS (needs cargo-fuzz)
	@scripts/fuzz

man:  ## lint the man pages and render them as text into target/man
	@scripts/man $(pages)

# Without a prerequisite: root installs what somebody else has built, and needs no cargo.
$(addprefix $(release)/,$(programs)):
	$(MAKE) build

install: $(addprefix $(release)/,$(programs))  ## programs (built if missing), man pages, completions, samples and units below DESTDIR and PREFIX
	install -d $(bindir) $(etcdir) $(unitdir) $(bashdir) $(zshdir) $(fishdir)
	for p in $(programs); do install -m 0755 $(release)/$$p $(bindir)/ || exit 1; done
	for p in $(programs); do \
		$(release)/$$p --completions bash >$(bashdir)/$$p && $(release)/$$p --completions zsh >$(zshdir)/_$$p && \
		$(release)/$$p --completions fish >$(fishdir)/$$p.fish || exit 1; \
	done
	for m in $(pages); do install -D -m 0644 $$m $(mandir)/man$${m##*.}/$${m##*/} || exit 1; done
	for s in $(samples); do install -m 0644 $$s $(etcdir)/ || exit 1; done
	for u in $(units); do sed 's|/usr/local|$(PREFIX)|g' $$u >$(unitdir)/$${u##*/} || exit 1; done

uninstall:  ## remove just what install put there
	rm -f $(addprefix $(bindir)/,$(programs))
	for m in $(pages); do rm -f $(mandir)/man$${m##*.}/$${m##*/}; done
	rm -f $(addprefix $(bashdir)/,$(programs)) $(addprefix $(zshdir)/_,$(programs))
	rm -f $(addprefix $(fishdir)/,$(addsuffix .fish,$(programs)))
	rm -f $(addprefix $(etcdir)/,$(notdir $(samples))) $(addprefix $(unitdir)/,$(notdir $(units)))
	rmdir $(etcdir) 2>/dev/null || true

clean:  ## remove what was built, the throwaway cluster and the drivers
	$(CARGO) clean
	rm -rf run .drivers .majors
