#!/bin/sh
# The state is healthy when it answers a client that has a certificate of the workspace's authority and a password.
set -eu
tls=/etc/valkey/tls

# In the environment of this one command: an argument could be read by everybody in the container.
REDISCLI_AUTH=$(cat /run/secrets/valkey_password)
export REDISCLI_AUTH
# -e: without it the exit code is 0 for an error reply too, such as the one while data is loaded.
exec valkey-cli -e --tls --cacert "$tls/ca.crt" --cert "$tls/client.crt" --key "$tls/client.key" \
    --no-auth-warning --user healthcheck ping
