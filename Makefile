# What people run. Anything longer than ten lines of shell belongs into tests/ or into habuild itself.

HABUILD := target/release/habuild
# What the tests use: built in half the time, and it checks its arithmetic.
HABUILD_DEBUG := target/debug/habuild
VM_NOBLE := target/vm/noble/harbor-node.qcow2
VM_BOOKWORM := target/vm/bookworm/harbor-node-bookworm.qcow2
# Noble with Harbors of the later generation: one, and the next.
VM_SECOND := target/vm/second/harbor-node.qcow2
VM_THIRD := target/vm/third/harbor-node.qcow2
# The releases that only `make test-vm` boots.
VM_RELEASES := ubuntu:jammy debian:trixie ubuntu:resolute
VM_TESTS := HABUILD_VM_NOBLE=$(CURDIR)/$(VM_NOBLE) HABUILD_VM_BOOKWORM=$(CURDIR)/$(VM_BOOKWORM) \
	HABUILD_VM_JAMMY=$(CURDIR)/target/vm/jammy/harbor-node.qcow2 \
	HABUILD_VM_TRIXIE=$(CURDIR)/target/vm/trixie/harbor-node.qcow2 \
	HABUILD_VM_RESOLUTE=$(CURDIR)/target/vm/resolute/harbor-node.qcow2 \
	cargo test --quiet --package habuild --features vm --test vm --

.PHONY: help image test test-vm releases lab check setup setup-tests build firstboot initrd stand-in vm-images vm-releases bench bench-bundle bench-agent bench-readme clean

help:
	@echo 'make image    bake the default image into out/harbor-node'
	@echo 'make test     every test but the long boots (20 minutes on 2 cores)'
	@echo 'make test-vm  every boot'
	@echo 'make releases every release booted twice, and the table of what was seen'
	@echo 'make lab      clusters in namespaces: real Ceph, databases, Redis, and two nodes of each'
	@echo 'make check    what is quick: format, lints, documentation, pure tests'
	@echo 'make bench    what a build costs, next to other tools; make bench-bundle: what a bundle does (root)'
	@echo 'make clean    remove target/ and out/; the cache stays (habuild cache gc)'

# Packages, the musl target; the other targets call it.
setup:
	@sh tests/setup.sh

setup-tests:
	@sh tests/setup.sh tests

build: setup
	cargo build --quiet --release --package habuild

# Static, so that one build runs on every release. It goes into the image: no path of this machine may be in it.
firstboot: setup
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo" \
	cargo build --quiet --release --target x86_64-unknown-linux-musl --package habuild-firstboot

# The initrd's program, static too.
initrd: setup
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo" \
	cargo build --quiet --profile initrd --target x86_64-unknown-linux-musl --package habuild-init

# The bundle that the default image holds, for tests and the quickstart.
stand-in: setup
	@sh tests/stand-in/build.sh cfg

# An archive that does not answer is the one reason to go on with another distribution; a wrong signature is none.
image: build firstboot initrd stand-in
	@name=harbor-node; mkdir -p target; \
	if ! ls out/harbor-node/*.lock >/dev/null 2>&1 && ! $(HABUILD) lock harbor-node >/dev/null 2>target/lock.log; then \
		if ! grep -q 'does not answer' target/lock.log; then cat target/lock.log >&2; exit 1; fi; \
		name=harbor-node-bookworm; \
		echo "make image: the Ubuntu archive does not answer; going on with Debian ($$name)" >&2; \
	fi; \
	$(HABUILD) image $$name && echo "boot it: $(HABUILD) boot out/$$name/$$name.qcow2"

test: setup-tests vm-images
	cargo test --quiet --workspace
	$(VM_TESTS) --skip longer::
	@echo 'make test: passed; left out: longer boots (make test-vm), a cluster (make lab)'

test-vm: setup-tests vm-images vm-releases
	$(VM_TESTS)

# Two boots of each release, and how the first one ended; a row for each, behind the word "release:".
releases: setup-tests vm-images vm-releases
	@echo 'release: | release | kernel | systemd | Docker | Compose | first ready | next ready | checks |'
	$(VM_TESTS) --nocapture longer::release_

# In namespaces of its own, which end with everything in them.
lab: setup-lab vm-images
	sh tests/stand-in/build.sh yml-before
	sh tests/stand-in/build.sh yml
	$(HABUILD_DEBUG) image harbor-node --set harbor.bundle=target/stand-in/yml-before.tgz --output $(dir $(VM_SECOND))
	$(HABUILD_DEBUG) image harbor-node --set harbor.bundle=target/stand-in/yml.tgz --output $(dir $(VM_THIRD))
	cargo test --quiet --package habuild --features vm --test lab --no-run
	for lab in 1:$(VM_NOBLE) 1:$(VM_BOOKWORM) 2:$(VM_SECOND); do \
	HABUILD_LAB_HARBOR=$${lab%%:*} HABUILD_LAB_NEXT=$(CURDIR)/$(VM_THIRD) HABUILD_LAB_IMAGE=$(CURDIR)/$${lab#*:} \
	unshare --user --map-root-user --net --mount --pid --fork --kill-child --mount-proc \
	cargo test --quiet --offline --package habuild --features vm --test lab -- --nocapture || exit 1; done

setup-lab:
	@sh tests/setup.sh lab

vm-images: firstboot initrd stand-in
	cargo build --quiet --package habuild
	$(HABUILD_DEBUG) image harbor-node --output $(dir $(VM_NOBLE))
	$(HABUILD_DEBUG) image harbor-node-bookworm --output $(dir $(VM_BOOKWORM))

vm-releases: vm-images
	for base in $(VM_RELEASES); do \
	$(HABUILD_DEBUG) image harbor-node --base $$base --output target/vm/$${base#*:} || exit 1; done

# Prints ratios measured in one run (10 minutes); `bench-readme` copies them into the README.
bench: firstboot initrd stand-in
	cargo bench --quiet --package habuild --bench bench

# A Harbor bundle of 1 GB next to `docker load`, by a dockerd that is fetched and not installed (5 minutes, as root).
bench-bundle:
	HABUILD_BENCH=bundle cargo bench --quiet --package habuild --bench bench

# On an emulated node (15 minutes).
bench-agent: setup-tests vm-images
	HABUILD_BENCH=agent HABUILD_VM_NOBLE=$(CURDIR)/$(VM_NOBLE) cargo bench --quiet --package habuild --bench bench

bench-readme:
	@for name in table bundle agent boots boots-bookworm; do test ! -f target/bench/$$name.md || \
	sed -i -e "/<!-- bench:$$name -->/,/<!-- bench:end -->/{//!d}" \
	       -e "/<!-- bench:$$name -->/r target/bench/$$name.md" README.md; done

check: setup
	cargo fmt --check
	cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps --document-private-items
	cargo test --quiet --workspace --lib --bins --test tidy --test spec --test formats --test layers --test corpus --test cli --test firstboot

clean:
	cargo clean
	rm -rf out
