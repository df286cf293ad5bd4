# What scripts/test and scripts/check share; sourced, in the clone's top folder. Sets `python`.

say() {
    printf '== %s\n' "$*"
}

# Debian's names of the programs that tests drive, each with a command by which its presence is told.
programs='nginx-light:nginx aria2:aria2c wget:wget curl:curl redis-server:redis-server apt-utils:apt-ftparchive dpkg-dev:dpkg-scanpackages chromium:chromium prometheus:promtool'

install_programs() {
    missing=
    for pair in $programs; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${pair#*:}" >/dev/null 2>&1 || missing="$missing ${pair%%:*}"
    done
    # A Python without ensurepip (Debian ships it apart) can't make the environment.
    command -v python3 >/dev/null 2>&1 && python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
    [ -n "$missing" ] || return 0

    if ! command -v apt-get >/dev/null 2>&1; then
        say "not installed, and no apt-get here:$missing (the tests that need them will be skipped)"
        return 0
    fi
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
        as_root='sudo -n'
    else
        say "not installed, and no right to install:$missing (the tests that need them will be skipped)"
        return 0
    fi
    say "installing$missing"
    # policy-rc.d is not ours to touch: a server that Debian starts on installing does not disturb the tests, which use free ports.
    # shellcheck disable=SC2086 # both lists are split on purpose
    $as_root env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get -q update >/dev/null 2>&1; apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$@" >/dev/null' sh $missing \
        </dev/null || say "some could not be installed; the tests that need them will be skipped"
}

find_environment() {
    found=
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            found=$candidate
            break
        fi
    done
    if [ -z "$found" ]; then
        echo "needs Python 3.11 or later, and none was found" >&2
        return 1
    fi
    # make_venv.py compares the stamp itself and returns at once when nothing has changed.
    "$found" scripts/make_venv.py "$PWD" "$PWD $(cksum <pyproject.toml)" test || return 1
    python=$PWD/.venv/bin/python
    [ -x "$python" ] || python=$PWD/.venv/Scripts/python.exe
}

ruff_says() {
    "$python" -m ruff check --quiet minicdn tests scripts
}
