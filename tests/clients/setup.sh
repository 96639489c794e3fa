#!/usr/bin/env bash
# Installs the real Redis clients and applications that tests/clients.rs and tests/applications.rs run: redis-py and Celery into
# .venv; ioredis, node-redis, BullMQ and a session store into node_modules; each at the version written in requirements.txt and
# package.json (msgpackr-extract held at one that registries have for all systems). Does nothing where what stands here already is what those files ask for.
set -euo pipefail
cd "$(dirname "$0")"

# One stamp per client set: the checksum of the file that asked for it.
stamp_of() { cat "$@" | sha256sum | cut -d' ' -f1; }

want=$(stamp_of requirements.txt)
if [ "$(cat .venv/.stamp 2>/dev/null)" != "$want" ]; then
  command -v python3 >/dev/null || { echo "setup.sh: python3 is missing (apt-get install python3 python3-venv)" >&2; exit 1; }
  rm -rf .venv
  python3 -m venv .venv || { echo "setup.sh: python3 cannot make a venv (apt-get install python3-venv)" >&2; exit 1; }
  .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
  echo "$want" >.venv/.stamp
fi

want=$(stamp_of package.json package-lock.json)
if [ "$(cat node_modules/.stamp 2>/dev/null)" != "$want" ]; then
  command -v npm >/dev/null || { echo "setup.sh: npm is missing (apt-get install nodejs npm)" >&2; exit 1; }
  npm ci --silent
  echo "$want" >node_modules/.stamp
fi
