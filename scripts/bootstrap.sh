#!/usr/bin/env bash
# Makes .venv at the top of the repository and installs augrad in it with everything that the commands and the tests
# need, in the versions of constraints.txt. Does nothing, quickly, when nothing changed. PYTHON=... chooses the Python.
#
# .venv/augrad-made says that this script made the environment and may empty it; .venv/augrad-stamp says what was
# installed, and is there only after an installation that came to its end.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

extras="dev,sweep,interop,tensorboard,docs"
made=.venv/augrad-made
stamp=.venv/augrad-stamp
log=.venv/augrad-pip.log

say() { printf 'bootstrap: %s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# What the stamp of an up-to-date environment says: its place (it cannot be moved), its Python, its ingredients.
wanted_stamp() {
    .venv/bin/python -c '
import hashlib, pathlib, sys
ingredients = b"\0".join(pathlib.Path(name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
print(pathlib.Path.cwd(), "%d.%d.%d" % sys.version_info[:3], sys.argv[1], hashlib.sha256(ingredients).hexdigest(), sep="\n")
' "$extras" 2>/dev/null
}

version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

is_suitable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }

is_wanted_python() { [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of .venv/bin/python)" ]; }

is_up_to_date() { [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_stamp)" ] && is_wanted_python; }

is_in_its_place() { [ -e "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$(pwd -P)" ]; }

can_install() { is_suitable .venv/bin/python && is_wanted_python && .venv/bin/python -m pip --version >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_suitable "$PYTHON" || fail "PYTHON=$PYTHON is no Python 3.11, 3.12 or 3.13 with venv and ensurepip (its answer to --version: $("$PYTHON" --version 2>&1 || true)). Name another one, or leave PYTHON unset."
        printf '%s\n' "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if is_suitable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "found no Python 3.11, 3.12 or 3.13 with venv and ensurepip (tried python3.13, python3.12, python3.11, python3 and python). Install one (on Debian and Ubuntu: python3.12 and python3.12-venv), or name one: PYTHON=/path/to/python3.12 bash scripts/bootstrap.sh"
}

make_afresh() {
    local python
    python=$(find_python)
    say "making $PWD/.venv with Python $(version_of "$python") ($python)"
    mkdir -p .venv
    touch "$made"
    find .venv/ -mindepth 1 -maxdepth 1 ! -name "${made##*/}" -exec rm -rf {} +
    "$python" -m venv .venv
}

if is_up_to_date; then exit 0; fi

if command -v flock >/dev/null 2>&1; then
    exec 9>.venv.lock
    flock --nonblock 9 || { say "another call is at work on .venv: waiting for it"; flock 9; }
    if is_up_to_date; then exit 0; fi
fi

rmdir .venv 2>/dev/null || true
if [ ! -e .venv ]; then
    make_afresh
elif [ -e "$made" ]; then
    if ! { is_in_its_place && can_install; }; then make_afresh; fi
elif ! can_install; then
    fail "$PWD/.venv was not made by this script, and holds no Python ${PYTHON:+of the version of PYTHON=$PYTHON }(3.11 to 3.13) with pip. Move it away and call again."
fi
rm -f "$stamp" "$log"
say "installing augrad[$extras] in the versions of constraints.txt (a few minutes the first time)"
.venv/bin/python -m pip install -qq --log "$log" --disable-pip-version-check --no-input -c constraints.txt -e ".[$extras]" ||
    fail "pip could not install augrad[$extras]; all it said is in $PWD/$log. Mend the cause (the network?) and call again."
wanted_stamp >"$stamp.new"
mv -f "$stamp.new" "$stamp"
say "$PWD/.venv is ready"
