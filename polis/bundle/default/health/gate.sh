#!/bin/sh
# The gate is healthy when it takes connections and the sentinel offers both services that every connection needs.
# It fails closed: a gate that cannot have traffic inspected must not be taken for one that works.
set -eu
sentinel=10.30.1.5

sh "${0%/*}/tcp.sh" 127.0.0.1 8080 || {
    echo "the proxy takes no connections"
    exit 1
}

for service in credcheck sentinel_respmod; do
    answer=$(
        printf 'OPTIONS icap://%s:1344/%s ICAP/1.0\r\nHost: %s\r\n\r\n' "$sentinel" "$service" "$sentinel" |
            nc -w 3 "$sentinel" 1344 | head -n 1
    ) || answer=
    case $answer in
        "ICAP/1.0 200"*) ;;
        *)
            echo "sentinel does not offer $service: ${answer:-no answer}"
            exit 1
            ;;
    esac
done
