#!/usr/bin/env bash
# Runs Redis's own test suite in its external mode, unit by unit, against a plain redis-server and through the sidecar,
# and says what passes on either side. Exits with 1 where a test that passes directly is short through the sidecar and
# not in differences.txt, or is there and passes.
#
#   run.sh [unit...]         such as unit/multi; without any: all that the suite names
#
# CONFORMANCE_SIDECAR      the binary, where it is not target/release/inventory-sentinel
# CONFORMANCE_SUITE_ARGS   further arguments of the suite: --durable goes on after an exception, which else ends a unit
#
# All it makes is under target/conformance: the suite, its logs and the servers' files.
set -euo pipefail
export LC_ALL=C TERM=dumb

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/conformance
logs=$work/logs
sidecar=${CONFORMANCE_SIDECAR:-$root/target/release/inventory-sentinel}
read -ra suite_args <<<"${CONFORMANCE_SUITE_ARGS:-}"
# The tests of replication would make the server a replica of one that the suite starts itself.
tags="-slow -needs:repl"
# Without a test begun or ended for so long the suite gives up, in seconds; the second is for the suite itself hanging.
silent_max=90
unit_max=900

say() { printf '%s\n' "$*"; }

# Ends all that this shell started; what has not gone after so many seconds is killed, such as a server in an endless script.
cleanup() {
  local jobs try
  jobs=$(jobs -pr)
  # shellcheck disable=SC2086 # one word a job, here and below
  [ -z "$jobs" ] || kill $jobs 2>/dev/null || true
  for ((try = 0; try < $1 * 20; try++)); do
    [ -n "$(jobs -pr)" ] || break
    sleep 0.05
  done
  jobs=$(jobs -pr)
  # shellcheck disable=SC2086
  [ -z "$jobs" ] || kill -KILL $jobs 2>/dev/null || true
  # Quietly: of a job that was killed bash would tell.
  wait 2>/dev/null
}
trap 'cleanup 20' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What must be on PATH, and the packages that bring it.
need_tools() {
  local missing=() tool
  for tool in redis-server redis-cli redis-benchmark; do
    command -v $tool >/dev/null || { missing+=(redis-server redis-tools); break; }
  done
  # Any of these is what the suite looks for.
  command -v tclsh8.5 tclsh8.6 tclsh8.7 >/dev/null || missing+=(tcl8.6)
  command -v dpkg-source >/dev/null || missing+=(dpkg-dev)
  [ ${#missing[@]} -gt 0 ] || return 0
  say "Installing ${missing[*]} with apt-get"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y "${missing[@]}"
}

# The suite, from Debian's source package: from the machine's own mirrors, by a list of sources and a state of apt that
# lie here, so that the machine's are left as they are.
fetch_suite() {
  local apt=$work/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=""
  [ ! -f "$work/direct/runtest" ] || [ ! -f "$work/through/runtest" ] || return 0
  rm -rf "$apt" "$work/direct" "$work/through"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  [ ! -f $keyring ] || signed="[signed-by=$keyring] "
  # shellcheck disable=SC2016 # $(...) is apt's
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v signed="$signed" '$1 ~ /\/debian[^\/]*\/?$/ && $3 == "main" { print "deb-src " signed $0 }' >"$apt/sources.list"
  [ -s "$apt/sources.list" ] || { say "no Debian mirror in the machine's apt sources" >&2; exit 1; }
  local options=(-q -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)")
  say "Fetching the source package of redis"
  { apt-get "${options[@]}" update
    (cd "$apt" && apt-get "${options[@]}" source --download-only redis)
    dpkg-source -x "$apt"/redis_*.dsc "$work/direct"; } >"$apt/log" 2>&1 || { cat "$apt/log" >&2; exit 1; }
  local tool
  for tool in redis-server redis-cli redis-benchmark redis-check-aof redis-check-rdb; do
    ln -s "$(command -v $tool)" "$work/direct/src/$tool"
  done
  # Each side has its own: the suite writes into its directory, and sweeps it.
  cp -r "$work/direct" "$work/through"
}

# The next port where nobody listens, as `port`. Each side counts from another number, so they never meet.
free_port() {
  port=$((port + 1))
  while (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
}

# Runs the command until it succeeds, for ten seconds.
until_ok() {
  local try
  for ((try = 0; try < 200; try++)); do
    # In a shell of its own, which a failed redirection may end.
    if ("$@") >/dev/null 2>&1; then return 0; fi
    sleep 0.05
  done
  say "this did not succeed within 10 s: $*" >&2
  return 1
}

pings() { [ "$(redis-cli -p "$1" PING)" = PONG ]; }

ready() {
  local status
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
  read -r -t 2 _ status _ <&3
  [ "$status" = 200 ]
}

log_of() { say "$logs/${1//\//.}.$2"; }

# One unit on one side, before fresh servers. Writes its log, and the names that passed, sorted, to .passed.
run_side() {
  local side=$1 unit=$2 port=$3 log data=$work/data.$1
  log=$(log_of "$unit" "$side")
  trap 'cleanup 2' EXIT
  trap 'exit 143' TERM
  rm -rf "$data"
  mkdir -p "$data"
  free_port
  redis-server --port "$port" --bind 127.0.0.1 --dir "$data" --save "" --enable-debug-command yes \
    --enable-protected-configs yes --enable-module-command yes >"$log.server" 2>&1 &
  until_ok pings "$port"
  if [ "$side" = through ]; then
    local upstream=$port admin
    free_port
    admin=$port
    free_port
    "$sidecar" run --listen "127.0.0.1:$port" --upstream "redis://127.0.0.1:$upstream" --admin "127.0.0.1:$admin" \
      >"$log.sidecar" 2>&1 &
    until_ok ready "$admin"
    until_ok pings "$port"
  fi
  local target=$port status=0
  free_port
  # In the background, so that this shell hears when it is to end.
  (cd "$work/$side" && exec timeout -k 5 $unit_max ./runtest --host 127.0.0.1 --port "$target" --baseport "$((port + 40))" \
    --timeout $silent_max --tags "$tags" --single "$unit" "${suite_args[@]}") >"$log.log" 2>&1 &
  wait $! || status=$?
  [ $status -ne 124 ] || say "[timeout]: the suite did not end within $unit_max s" >>"$log.log"
  # Of a name that bears an unprintable character or a line break the first line is kept.
  sed -n 's/^\[ok\]: \(.*\) ([0-9]* ms)$/\1/p' "$log.log" | sed 's/ *$//' | sort >"$log.passed"
}

run_both() {
  local base=$((20000 + RANDOM % 60 * 100))
  run_side direct "$1" $base &
  local direct=$!
  run_side through "$1" $((base + 5000)) &
  wait $!
  wait $direct
}

# What passed in one of two runs, as often as in the better one.
merge() { { cat "$1" && comm -13 "$1" "$2"; } | sort >"$3"; }

# Why a unit has not come to its end; nothing where it has.
stopped() {
  sed -n -e 's/^\[exception\]: Executing test client: /exception: /p' -e 's/^.* => (IN PROGRESS) /timeout in: /p' \
    -e 's/^\[timeout\]: //p' "$1" | cut -c 1-100 | grep -m 1 . && return 0
  grep -q 'The End' "$1" || say "it broke off"
}

# The names of this unit in differences.txt.
listed() { awk -F ' [|] ' -v unit="$1" '$1 == unit { sub(/ *$/, "", $2); print $2 }' "$here/differences.txt" | sort; }
# Those of them that may pass too.
by_chance() {
  awk -F ' [|] ' -v unit="$1" '$1 == unit && $3 ~ /^by chance/ { sub(/ *$/, "", $2); print $2 }' "$here/differences.txt" | sort
}

judge() {
  local unit=$1 direct through short side
  direct=$(log_of "$unit" direct) through=$(log_of "$unit" through) short=$(log_of "$unit" short)
  run_both "$unit"
  listed "$unit" >"$short.listed"
  comm -23 "$direct.passed" "$through.passed" >"$short"
  if [ -n "$(comm -23 "$short" "$short.listed")" ] || [ -n "$(stopped "$direct.log")" ]; then
    # Not every test is certain of its own time on a busy machine: once more, before it is held against anyone.
    for side in "$direct" "$through"; do
      mv "$side.log" "$side.first.log"
      mv "$side.passed" "$side.first.passed"
    done
    run_both "$unit"
    for side in "$direct" "$through"; do
      mv "$side.passed" "$side.second.passed"
      merge "$side.first.passed" "$side.second.passed" "$side.passed"
      rm "$side.first.passed" "$side.second.passed"
    done
    comm -23 "$direct.passed" "$through.passed" >"$short"
  fi
  comm -23 "$short" "$short.listed" | sed "s#^#$unit | #" >>"$work/unlisted"
  comm -12 <(comm -23 "$short.listed" <(sort "$short" <(by_chance "$unit"))) "$through.passed" | sed "s#^#$unit | #" >>"$work/stale"

  local passed missing note="" end
  passed=$(wc -l <"$direct.passed") missing=$(wc -l <"$short")
  end=$(stopped "$direct.log")
  [ -z "$end" ] || note="direct: $end"
  end=$(stopped "$through.log")
  [ -z "$end" ] || note="${note:+$note, }through: $end"
  if [ "$passed" -eq 0 ] && [ -z "$note" ]; then
    none="$none $unit"
    return 0
  fi
  printf '%-44s %7d %8d %6d%s\n' "$unit" "$passed" $((passed - missing)) "$missing" "${note:+  $note}"
  total=$((total + passed)) total_short=$((total_short + missing))
}

need_tools
[ -x "$sidecar" ] || { say "$sidecar is not there" >&2; exit 1; }
mkdir -p "$logs"
fetch_suite
: >"$work/unlisted"
: >"$work/stale"

units=("$@")
[ ${#units[@]} -gt 0 ] || readarray -t units < <(
  awk '/^set ::all_tests/ { on = 1; next } /^}/ { on = 0 } on { print $1 }' "$work/direct/tests/test_helper.tcl")

total=0 total_short=0 none=""
say "suite: $(awk '/^Version:/ { print $2; exit }' "$work"/apt/redis_*.dsc); server: $(redis-server --version)"
say "tags: $tags; logs: $logs"
printf '%-44s %7s %8s %6s\n' unit direct sidecar short
for unit in "${units[@]}"; do judge "$unit"; done
printf '%-44s %7d %8d %6d\n' total $total $((total - total_short)) $total_short
[ -z "$none" ] || say "nothing in these is for an external server or these tags:$none"

if [ -s "$work/unlisted" ]; then
  say $'\n'"short through the sidecar, and not in differences.txt:"
  sed 's/^/  /' "$work/unlisted"
fi
if [ -s "$work/stale" ]; then
  say $'\n'"in differences.txt, but it passes:"
  sed 's/^/  /' "$work/stale"
fi
[ ! -s "$work/unlisted" ] && [ ! -s "$work/stale" ]
