#!/bin/sh
# Lets traffic of the workspace's bridge stay on that bridge: host-init.sh BRIDGE
#
# Docker drops what an internal network sends to addresses outside of it. Transparent interception needs exactly
# such packets to reach the gate, which sits on the same bridge; none leaves the bridge by this rule.
set -eu
bridge=$1

if ! [ -e "/sys/class/net/$bridge" ]; then
    echo "host-init: there is no bridge $bridge" >&2
    exit 1
fi

rule="iifname \"$bridge\" oifname \"$bridge\""
if nft list chain ip filter DOCKER-USER | grep -qF "$rule"; then
    echo "host-init: $bridge is open to itself already"
    exit 0
fi
nft insert rule ip filter DOCKER-USER "$rule" accept
echo "host-init: opened $bridge to itself"
