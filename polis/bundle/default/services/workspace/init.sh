#!/bin/sh
# Points the workspace's default route at the gate. Its network is internal, so Docker has set no route at all.
set -eu

if ip -6 route show default 2>/dev/null | grep -q .; then
    echo "polis-init: an IPv6 default route would lead past the gate" >&2
    exit 1
fi

ip route replace default via "$POLIS_GATE"
echo "polis-init: default route via $POLIS_GATE"
