# Sourced by the other scripts: the virtual environment with mode_opt in it, made or brought up to date.
# Sets ROOT, VENV and PYTHON. MODE_OPT_VENV names another place for the environment.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${MODE_OPT_VENV:-$ROOT/.venv}"

fail() {
    echo "mode_opt: $1" >&2
    exit 1
}

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

# install EXTRAS: "" or "[test]"; does nothing if this state of pyproject.toml and constraints is installed already.
install() {
    local extras="$1" stamp wanted
    stamp="$VENV/.mode_opt$extras"
    wanted="$(cat "$ROOT/pyproject.toml" "$ROOT/scripts/constraints.txt" | cksum) $ROOT"
    if [ ! -x "$VENV/bin/python" ]; then
        local python
        python="$(find_python)"
        [ -n "$python" ] || fail "Python 3.11 or newer is needed (set PYTHON to one)"
        "$python" -m venv "$VENV" || fail "cannot make $VENV; on Debian: apt-get install python3-venv"
    fi
    PYTHON="$VENV/bin/python"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "mode_opt: installing into $VENV (some minutes the first time)"
        # torch first and by its exact version: any looser request may fetch a build of several gigabytes.
        "$PYTHON" -m pip install --quiet --disable-pip-version-check "$(grep '^torch==' "$ROOT/scripts/constraints.txt")" ||
            fail "torch could not be installed; is there a network?"
        "$PYTHON" -m pip install --quiet --disable-pip-version-check \
            --constraint "$ROOT/scripts/constraints.txt" --editable "$ROOT$extras" ||
            fail "the packages could not be installed; is there a network?"
        echo "$wanted" >"$stamp"
    fi
}
