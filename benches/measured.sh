#!/bin/sh
# The bench `ownership` on a machine that others use too: it grows its world as the others run, and
# has a core of its own while it times. Usage: measured.sh LOCK BENCH WORD..., where LOCK is a file
# that whoever measures holds, BENCH the program, and the words are the bench's. Needs root.
set -eu
lock=$1 bench=$2
shift 2
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkfifo "$work/go"
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 nice -n 10 "$bench" "$@" pause \
    <"$work/go" >"$work/rows" 2>"$work/said" &
pid=$!
exec 3>"$work/go"
count() { grep -c "$1" "$2" || true; }
turns=0
while kill -0 $pid 2>/dev/null; do
    if [ "$(count '^paused' "$work/said")" -gt $turns ]; then
        turns=$((turns + 1))
        rows=$(count '| [0-9]' "$work/rows")
        (
            flock 9
            chrt -f -p 10 $pid && taskset -acp 0 $pid >"$work/core"
            echo >&3
            while kill -0 $pid 2>/dev/null && [ "$(count '| [0-9]' "$work/rows")" = "$rows" ]; do
                sleep 1
            done
            chrt -o -p 0 $pid && taskset -acp 0-1 $pid >"$work/core" || true
        ) 9>"$lock"
    fi
    sleep 1
done
cat "$work/rows"
grep -v '^paused' "$work/said" >&2 || true
