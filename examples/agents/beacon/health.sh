#!/bin/sh
# It is well when it answers.
set -eu

if command -v curl >/dev/null; then
    curl -sf --max-time 5 http://127.0.0.1:9000/status.json
else
    timeout 5 wget -q -O - http://127.0.0.1:9000/status.json
fi | grep -q '"ok": true'
