#!/usr/bin/env bash
# Makes a virtual environment with everything that building, testing and checking this checkout needs:
# the folder VENV, with the release TORCH of torch. The Makefile calls it and says which.
#
# Python packages come from whatever index pip is set up for; its environment variables choose
# another one, or another build of torch. Debian packages are installed where apt-get is there and we
# are root; elsewhere a sentence says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${VENV:?say make setup}

say() { echo "setup: $*"; }
die() {
  echo "setup: $*" >&2
  exit 1
}

# install_debian PACKAGE... : tries to; whether it worked, the caller looks at himself.
install_debian() {
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "installing Debian's $*"
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@") >/dev/null || true
  fi
}

have_compiler() { command -v c++ >/dev/null || command -v "${CXX:-g++}" >/dev/null; }
have_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }
have_python_headers() {
  [[ -f $("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]]
}
# Pages of reports are looked at with it in tests; a user's machine goes without.
have_browser() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v chrome >/dev/null; }
have_gtest() { echo '#include <gmock/gmock.h>' | "${CXX:-c++}" -std=c++20 -x c++ -E - >/dev/null 2>&1; }

command -v "$python" >/dev/null || die "no $python: install Python 3.11, or say PYTHON=... make"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  die "$("$python" --version) is too old: install Python 3.11, or say PYTHON=... make"

have_compiler || install_debian g++
have_compiler || die "no C++ compiler: install g++ 12 or newer (Debian: g++)"
have_venv || install_debian python3-venv
have_venv || die "$python can't make virtual environments: install its venv module (Debian: python3-venv)"
have_python_headers || install_debian python3-dev
have_python_headers || die "$python has no Python.h: install its headers (Debian: python3-dev)"
have_gtest || install_debian libgtest-dev libgmock-dev
have_gtest ||
  say "GoogleTest is missing, so the C++ tests are left out and \`make test\` will fail: install it" \
    "(Debian: libgtest-dev libgmock-dev)"

if [[ ${CI:-} == true ]]; then
  have_browser || install_debian chromium
  command -v doxygen >/dev/null || install_debian doxygen
fi

if [[ ! -x $venv/bin/python ]]; then
  say "making $venv"
  "$python" -m venv "$venv"
fi

say "installing torch and the tools into $venv (the first time takes minutes)"
"$venv/bin/python" scripts/print_requirements.py "${TORCH:?}" >"$venv/requirements.txt"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$venv/requirements.txt"
# Tests read Chakra's traces with its schema alone; what it is declared to need brings JupyterLab along.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps mlc-chakra==1.0.0 ||
  say "mlc-chakra could not be installed, so the tests of Chakra's traces are left out"
say "done"
