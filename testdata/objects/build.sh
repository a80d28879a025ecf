#!/bin/sh
# Rebuilds the objects here. Needs clang (19 was used) and libbpf's headers:
#   apt-get install clang-19 libbpf-dev
set -eu
cd "$(dirname "$0")"
for source in *.c; do
	"${CLANG:-clang-19}" -target bpf -O2 -g -mcpu=v3 -Wall -Wno-unused-function \
		-fdebug-prefix-map="$PWD"=. -I/usr/include/"$(uname -m)"-linux-gnu -c "$source" -o "${source%.c}.o"
	llvm-strip-19 -g "${source%.c}.o" 2>/dev/null || "${STRIP:-llvm-strip}" -g "${source%.c}.o"
done
