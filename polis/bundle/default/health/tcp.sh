#!/bin/sh
# Succeeds when something accepts a connection: tcp.sh HOST PORT
# Some images bring bash and no netcat, others netcat and no bash.
if command -v bash >/dev/null; then
    # shellcheck disable=SC2016  # the inner shell expands them
    exec timeout 3 bash -c ': <>"/dev/tcp/$0/$1"' "$1" "$2"
fi
exec nc -w 3 "$1" "$2" </dev/null >/dev/null
