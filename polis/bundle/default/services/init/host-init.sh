#!/bin/sh
# Lets traffic of the workspace's bridge stay on that bridge, and be nowhere else: host-init.sh BRIDGE
#
# Docker drops what an internal network sends to addresses outside of it. Transparent interception needs exactly
# such packets to reach the gate, which sits on the same bridge; none leaves the bridge by this rule.
#
# Docker does not keep an internal network from the machine itself, whose address the bridge carries. The table below
# does: the workspace cannot open anything of the machine's, by IPv4 or IPv6, and the machine routes nothing for it,
# whatever Docker's own rules say at that moment. It is a table of its own, which Docker leaves alone when it restarts.
set -eu
bridge=$1

if ! [ -e "/sys/class/net/$bridge" ]; then
    echo "host-init: there is no bridge $bridge" >&2
    exit 1
fi

# One transaction: at no moment is there no table. Its chains come before Docker's.
nft -f - <<RULES
table inet polis
delete table inet polis
table inet polis {
    chain input {
        type filter hook input priority filter - 10; policy accept;
        iifname != "$bridge" accept
        meta nfproto ipv6 drop
        # What the machine itself asked for, such as the health of an agent.
        ct state established,related accept
        drop
    }
    chain forward {
        type filter hook forward priority filter - 10; policy accept;
        iifname "$bridge" oifname != "$bridge" drop
        iifname != "$bridge" oifname "$bridge" drop
        iifname "$bridge" meta nfproto ipv6 drop
    }
}
RULES
echo "host-init: closed the machine to $bridge"

rule="iifname \"$bridge\" oifname \"$bridge\""
if nft list chain ip filter DOCKER-USER | grep -qF "$rule"; then
    echo "host-init: $bridge is open to itself already"
    exit 0
fi
nft insert rule ip filter DOCKER-USER "$rule" accept
echo "host-init: opened $bridge to itself"
