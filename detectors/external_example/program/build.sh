#!/bin/sh
# Compile shower.cpp:  sh build.sh [TARGET]
# TARGET is the program to write; without it ~/.cache/mode_opt/external_example/shower ($XDG_CACHE_HOME, if set).
# $CXX is the compiler, if set. The program appears at once and whole, so that several may build it at a time.
set -eu

source="$(cd "$(dirname "$0")" && pwd)/shower.cpp"
target="${1:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mode_opt/external_example/shower}"

for compiler in ${CXX:-c++ g++ clang++}; do
    if command -v "$compiler" >/dev/null 2>&1; then
        mkdir -p "$(dirname "$target")"
        "$compiler" -std=c++17 -O2 -Wall -Wextra -o "$target.$$" "$source" || { rm -f "$target.$$"; exit 1; }
        mv "$target.$$" "$target"
        echo "$target"
        exit 0
    fi
done
echo "build.sh: no C++ compiler found (tried ${CXX:-c++, g++, clang++}): install one, name one by CXX=..., or use shower.py" >&2
exit 3
