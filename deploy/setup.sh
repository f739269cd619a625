#!/bin/sh
# Makes .venv with what a purpose needs, and does nothing where it has that already.
#
#   sh deploy/setup.sh demo|generator|test|bench
#
# Each purpose includes those before it. PYTHON names an interpreter to use; else the newest suitable one is looked for.
# pip reads its usual settings (PIP_INDEX_URL, pip.conf …). Exit code 2: one sentence says what to mend.
set -eu

purpose=${1:-}
case $purpose in
    demo) package='.' includes='demo' ;;
    generator) package='.[generator]' includes='demo generator' ;;
    # The benchmarks are type-checked too, so tests need what they are measured beside.
    test | bench) package='.[dev,bench]' includes='demo generator test bench' ;;
    *) echo "usage: sh deploy/setup.sh demo|generator|test|bench" >&2; exit 2 ;;
esac

say() { printf '%s\n' "$*" >&2; }
refuse() { say "✗ $*"; exit 2; }

cd "$(dirname "$0")/.."
here=$(pwd -P)
log=.venv/install.log
stamps=.venv/installed
unfinished=.venv/unfinished

# What an environment was made from; another value means that it has to be made again.
wanted() { { printf '%s\n' "$here"; cat pyproject.toml constraints.txt; } | cksum; }

if [ -x .venv/bin/python ] && [ -x .venv/bin/zoetrope ] && [ "$(cat "$stamps/$purpose" 2>/dev/null)" = "$(wanted)" ] \
    && .venv/bin/python -c ''; then
    exit 0
fi

[ -w . ] || refuse "No right to write in $here: start as the user whom it belongs to, or copy the project elsewhere."
if [ -e .venv ] && ! [ -w .venv ]; then
    refuse "$here/.venv belongs to another user: start as that user, or remove it as that user."
fi

# Two of these at once would tear each other's environment down.
if command -v flock >/dev/null 2>&1; then
    exec 9<.
    flock -n 9 || { say "Waiting for another installation here to end …"; flock 9; }
fi

# An interpreter that will do, in `python`; why none does, in `reason`.
find_python() {
    python='' reason='no Python was found'
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}; do
        candidate=$(command -v "$candidate" 2>/dev/null) || continue
        if ! "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            reason="$candidate is older than that, or does not run"
        elif ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            reason="$candidate cannot make environments (on Debian and Ubuntu, install the package python3-venv)"
        else
            python=$candidate
            return 0
        fi
    done
    return 1
}

# The sentence for a failed step, from what it wrote.
explain() {
    if grep -q 'No space left on device' "$1" || ! dd if=/dev/zero of=.venv/probe bs=65536 count=16 2>/dev/null; then
        refuse "The disk that holds $here is full. Free some space (up to 1 GB for the demo, 10 GB for generators) and start again."
    elif grep -Eq 'Temporary failure in name resolution|NewConnectionError|Network is unreachable|Connection (refused|reset)|timed out|ProxyError|from versions: none' "$1"; then
        refuse "The Python packages could not be fetched. Is there a network, or a package index to set (PIP_INDEX_URL)? Details: $here/$1"
    elif grep -q 'No matching distribution found' "$1"; then
        missing=$(sed -n 's/.*No matching distribution found for \([^ ]*\).*/\1/p' "$1" | tail -n 1)
        refuse "There is no build of $missing for $python. Try another Python: PYTHON=python3.12 make … Details: $here/$1"
    elif grep -q 'Permission denied' "$1"; then
        refuse "No right to write somewhere below $here. Start as the user whom it belongs to. Details: $here/$1"
    fi
    refuse "The installation failed: $(grep -Ev '^ *$|^exit code' "$1" | tail -n 1) Details: $here/$1"
}

# Runs a command with its output in the log; on a terminal the newest line shows what it does.
run_logged() {
    if [ -t 2 ]; then
        { "$@" 2>&1; echo "exit code $?"; } | tee -a "$log" | while IFS= read -r line; do
            printf '\r\033[K  %.70s' "$line" >&2
        done
        printf '\r\033[K' >&2
        [ "$(tail -n 1 "$log")" = 'exit code 0' ]
    else
        "$@" >>"$log" 2>&1
    fi
}

# What an interruption left may look whole to pip: start anew. So does a .venv that was moved or whose Python is gone.
if [ -e "$unfinished" ] || ! [ -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null \
    || ! grep -qF "$here/.venv" .venv/bin/activate; then
    find_python || refuse "Zoetrope needs Python 3.11 or newer: $reason. Install one, or name it: PYTHON=/path/to/python3 make …"
    rm -rf .venv || refuse "The old $here/.venv could not be removed; remove it by hand."
    mkdir .venv && touch "$unfinished" || refuse "No right to make $here/.venv, or the disk is full."
    "$python" -m venv "$here/.venv" >"$log" 2>&1 || explain "$log"
fi

python=$(.venv/bin/python -c 'import platform; print("Python", platform.python_version())')
say "Installing what is needed for '$purpose' into .venv with $python. The first time takes minutes, later ones none …"
touch "$unfinished" || refuse "The disk that holds $here is full, or .venv is closed to us."
rm -rf "$stamps" "$log"
run_logged .venv/bin/python -m pip install --no-input --disable-pip-version-check \
    --constraint constraints.txt --editable "$package" || explain "$log"
mkdir -p "$stamps"
for included in $includes; do
    wanted >"$stamps/$included"
done
rm -f "$unfinished"
say "Installed."
