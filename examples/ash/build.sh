#!/bin/sh
# Builds the objects here again, into this folder or the one named. Needs clang, and libbpf's headers:
#   apt-get install clang-19 llvm-19 libbpf-dev
# `cargo test -p sluice --test handlers` says whether object and source belong together.
set -eu
cd "$(dirname "$0")"
into="${1:-.}"
for source in *.c; do
	object="$into/${source%.c}.o"
	"${CLANG:-clang-19}" -target bpf -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-address-of-packed-member \
		-fdebug-prefix-map="$PWD"=. -I/usr/include/"$(uname -m)"-linux-gnu -c "$source" -o "$object"
	# Debug information that is not BTF is large, and nobody here reads it.
	"${STRIP:-llvm-strip-19}" -g "$object"
done
