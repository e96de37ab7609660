# Sourced by run_train.sh, run_tests.sh and .ci/run, with the checkout as the working directory. Afterwards $PYTHON is a Python
# that has SegLM and everything it needs: the active virtual environment, else .venv, made if it is not there.
#
#   PYTHON         what .venv is made with, default the first of python3, python3.11, ... that is new enough; what is there stays
#   SEGLM_EXTRAS   which extras to install, default "dev"
#   SEGLM_LATEST   if set: .venv-latest instead, whatever is active, with the newest release of every requirement (setup.py lifts
#                  the upper bounds); run_tests.sh --latest sets it

seglm_stop() { echo "SegLM: $*" >&2; exit 1; }

# A Python that starts and is new enough. (A pyenv shim may exist and refuse to start.)
seglm_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

seglm_find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.11 python3.12 python3.13; do
        if seglm_new_enough "$candidate"; then echo "$candidate"; return; fi
        # A Python named by the user is not replaced by another.
        [ -z "${PYTHON:-}" ] || break
    done
    seglm_stop "needs Python 3.11 or newer; ${PYTHON:-python3} is $("${PYTHON:-python3}" -V 2>&1). Set PYTHON=/path/to/python3.11"
}

# Makes $venv where it is $own and not there, and fills it. Descriptor 9 is a lock: of several calls (nodes that share a checkout)
# one does it, and the others find it done.
seglm_make() {
    local base
    if command -v flock >/dev/null && ! flock -n 9; then
        echo "SegLM: waits for another call, which makes or fills an environment"
        flock 9 || true
    fi
    # Half an environment has a Python, too; of a call that was stopped here the mark is left, and the next one begins anew.
    if [ -n "$own" ] && { [ -e "$venv.unfinished" ] || ! [ -x "$venv/bin/python" ]; }; then
        base=$(seglm_find_python) || exit 1
        echo "SegLM: making $venv with $("$base" -V 2>&1)"
        touch "$venv.unfinished"
        "$base" -m venv --clear "$venv" || seglm_stop "could not make $venv; on Debian: apt-get install python3-venv"
        rm "$venv.unfinished"
    fi
    if [ -n "${SEGLM_LATEST:-}" ]; then
        echo "SegLM: the newest of everything into $venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager \
            -e ".[${SEGLM_EXTRAS:-dev}]" || seglm_stop "pip could not install the newest of everything into $venv; its message stands above"
        touch "$stamp"
    elif ! [ -e "$stamp" ]; then
        echo "SegLM: installing into $venv (once)"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[${SEGLM_EXTRAS:-dev}]" ||
            seglm_stop "pip could not install requirements.txt into $venv; its message stands above"
        touch "$stamp"
    fi
}

seglm_environment() {
    local venv="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}" own="" stamp
    if [ -n "${PYTHON:-}" ] && ! command -v "$PYTHON" >/dev/null; then
        seglm_stop "PYTHON=$PYTHON is no program; set PYTHON=/path/to/python3.11, or unset it"
    fi
    # What runs are made with stays as it is: the newest of everything never goes into the environment that is active.
    if [ -n "${SEGLM_LATEST:-}" ]; then
        own=1 venv="$PWD/.venv-latest"
    elif [ -n "$venv" ] && [ -x "$venv/bin/python" ]; then
        seglm_new_enough "$venv/bin/python" ||
            seglm_stop "needs Python 3.11 or newer; the active environment $venv has $("$venv/bin/python" -V 2>&1)"
    else
        own=1 venv="$PWD/.venv"
    fi
    # Installed once; again when what is asked for changes or the checkout has moved. The stamp is gone with what it lies in.
    stamp="$venv/.seglm-$( { cat requirements.txt pyproject.toml setup.py; echo "$PWD ${SEGLM_EXTRAS:-dev}"; } | cksum | cut -d' ' -f1)"
    if [ -n "${SEGLM_LATEST:-}" ] || ! [ -x "$venv/bin/python" ] || ! [ -e "$stamp" ]; then seglm_make 9>.venv.lock; fi
    PYTHON="$venv/bin/python"
    # Scripts that are started from here are to use it, and not to look for newer releases again.
    if [ -n "${SEGLM_LATEST:-}" ]; then export VIRTUAL_ENV="$venv"; unset SEGLM_LATEST; fi
    # Small models gain nothing from more threads than this, and `deepspeed` with one process sets none at all.
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(( $(getconf _NPROCESSORS_ONLN) > 8 ? 8 : $(getconf _NPROCESSORS_ONLN) ))}"
}

seglm_environment
