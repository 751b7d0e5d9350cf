#!/bin/sh
# Fuzzes what reads archives that others made:
#
#   sh tests/fuzz/run.sh TARGET SECONDS   (layer, images, bundle or compressed)
#   sh tests/fuzz/run.sh TARGET keep      (the few inputs that reach most, into tests/fuzz/corpus/TARGET)
#
# A finding is a file target/fuzz/found-TARGET-*: mend it, and put the file into tests/fuzz/corpus/TARGET, where
# `make test` runs it from then on. For inputs to begin anew with: HABUILD_SEEDS=DIRECTORY cargo test --test corpus
#
# libFuzzer's counters need no nightly compiler, only one for C++.
set -eu
cd "$(dirname "$0")/../.."
target=${1:?which target? layer, images, bundle or compressed}
command -v c++ >/dev/null || { echo 'run.sh: no C++ compiler: apt-get install g++' >&2; exit 3; }

# What cargo-fuzz hands the compiler, without the address sanitizer: no unsafe code is looked at here.
counters='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-pc-table'
counters="$counters -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-trace-compares"
host=$(rustc -vV | sed -n 's/^host: //p')
CARGO_BUILD_TARGET=$host RUSTFLAGS=$counters cargo build --quiet --release --manifest-path tests/fuzz/Cargo.toml \
	--target-dir target/fuzz --bin "$target"
fuzz=target/fuzz/$host/release/$target

# Unpacking is all that it does: in memory, where there is a place for it.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then
	export TMPDIR=/dev/shm
fi
limits='-timeout=20 -rss_limit_mb=512 -max_len=65536'
kept=tests/fuzz/corpus/$target
found=target/fuzz/corpus/$target
mkdir -p "$found" "$kept"
if [ "${2:-}" = keep ]; then
	rm -rf "$found.small" "$found.least" && mkdir "$found.small" "$found.least"
	find "$kept" "$found" -type f -size -17k -exec cp {} "$found.small" ';'
	# shellcheck disable=SC2086
	"$fuzz" $limits -set_cover_merge=1 -use_counters=0 "$found.least" "$found.small"
	# What reaches most is written first. `make test` runs them all: not more than 250 kB.
	total=0
	for input in $(ls -tr "$found.least"); do
		total=$((total + $(stat -c %s "$found.least/$input")))
		[ "$total" -lt 250000 ] || rm "$found.least/$input"
	done
	find "$kept" -name 'found-*' -exec cp {} "$found.least" ';'
	rm -rf "$kept"
	exec cp -r "$found.least" "$kept"
fi
# shellcheck disable=SC2086
exec "$fuzz" $limits "-max_total_time=${2:?how many seconds?}" "-artifact_prefix=target/fuzz/found-$target-" \
	-print_final_stats=1 "$found" "$kept"
