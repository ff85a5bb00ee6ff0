#!/bin/sh
# The gate in miniature: set up as root what needs root, then filter as 65532. Rules first: nothing passes before them.
set -eu
internal=$(ip route show 10.10.1.0/24 | sed -n 's/.* dev \([^ ]*\).*/\1/p')
[ -n "$internal" ] || {
    echo "gate: is not on the workspace's network" >&2
    exit 1
}
grep -q 'BEGIN CERTIFICATE' /etc/g3proxy/ssl/ca.pem || {
    echo "gate: has no certificate of the workspace's authority" >&2
    exit 1
}
resolver=$(sed -n 's/^ *server: \([0-9.]*\)$/\1/p' /etc/g3proxy/g3proxy.yaml)
sed "s/INTERNAL/\"$internal\"/; s/RESOLVER/$resolver/" /usr/local/lib/gate/rules.nft | nft -f -
echo "gate: takes what arrives on $internal, and leads names to $resolver"
exec g3proxy -c /etc/g3proxy/g3proxy.yaml
