#!/usr/bin/env bash
# Asks a redis-server of its own what the replays need, and writes its answers to benches/replay/recording.resp.
set -euo pipefail
cd "$(dirname "$0")/../.."

server=$(command -v redis-server || command -v valkey-server)
dir=$(mktemp -d)
port=$((20000 + RANDOM % 11000))
"$server" --port "$port" --bind 127.0.0.1 --save "" --appendonly no --dir "$dir" >"$dir/log" &
trap 'kill $!; rm -rf "$dir"' EXIT
${CARGO:-cargo} bench --bench instructions -- --record "127.0.0.1:$port"
