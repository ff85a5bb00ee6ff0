#!/bin/sh
# c-icap in miniature: knows which services its configuration names, and whether the scanner is there.
set -eu
conf=/etc/c-icap/c-icap.conf
SERVICES=$(sed -n 's/^Service\(Alias\)\{0,1\} \([a-z_]*\) .*/\2/p' "$conf" | tr '\n' ' ')
SCANNER=$(sed -n 's/^clamd_ip //p' /etc/squidclamav.conf)
SCANNER_PORT=$(sed -n 's/^clamd_port //p' /etc/squidclamav.conf)
export SERVICES SCANNER SCANNER_PORT
echo "c-icap: offers $SERVICES"
exec nc -ll -p 1344 -e /usr/libexec/icap-session
