#!/bin/sh
# Writes its state every few seconds, and serves it.
set -eu

present() {
    if [ -n "${BEACON_API_KEY-}${BEACON_TOKEN-}" ]; then echo true; else echo false; fi
}

# Whether a page of the world outside can be fetched, which only the gate can do.
outside() {
    if command -v curl >/dev/null; then
        curl -sf --max-time 5 -o /dev/null "$BEACON_ASKS" && echo true || echo false
    else
        timeout 5 wget -q -O /dev/null "$BEACON_ASKS" && echo true || echo false
    fi
}

status() {
    printf '{"ok": true, "user": "%s", "has_key": %s, "reaches_outside": %s, "region": "%s"}\n' \
        "$(id -un)" "$(present)" "$1" "${BEACON_REGION-}"
}

put() {
    status "$1" >www/status.new
    mv www/status.new www/status.json
}

put null
while :; do
    put "$(outside 2>/dev/null)"
    sleep 10
done &

if command -v httpd >/dev/null; then
    exec httpd -f -p 9000 -h www
fi
exec python3 -m http.server --directory www 9000
