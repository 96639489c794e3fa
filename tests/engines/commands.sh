#!/usr/bin/env bash
# Prints what the server at $1 (host:port) says of its commands, one line each, subcommands too:
#   name arity first last step movable|fixed @category,…
# Kept in tests/engines/commands/<engine>.txt; the tests of the isolation compare its table with them.
#   tests/engines/commands.sh 127.0.0.1:6379 > tests/engines/commands/redis-7.0.txt
set -euo pipefail
python3 - "$1" <<'PYTHON'
import socket, sys

host, port = sys.argv[1].split(":")
connection = socket.create_connection((host, int(port)))
connection.sendall(b"*1\r\n$7\r\nCOMMAND\r\n")
reply = connection.makefile("rb")


def read():
    line = reply.readline()[:-2]
    kind, rest = line[:1], line[1:]
    if kind == b"*":
        return [read() for _ in range(int(rest))]
    if kind == b"$":
        return reply.read(int(rest) + 2)[:-2].decode()
    return int(rest) if kind == b":" else rest.decode()


def show(command, lines):
    name, arity, flags, first, last, step, categories = command[:7]
    movable = "movable" if "movablekeys" in flags else "fixed"
    lines.append(f"{name} {arity} {first} {last} {step} {movable} {','.join(sorted(categories))}")
    for subcommand in command[9] if len(command) > 9 else []:
        show(subcommand, lines)


lines = []
for command in read():
    show(command, lines)
print("\n".join(sorted(lines)))
PYTHON
