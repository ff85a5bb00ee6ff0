#!/bin/sh
# Runs as root before each start.
set -eu

mkdir -p /var/lib/beacon/www
chown polis /var/lib/beacon/www
echo "started" >>/var/lib/beacon/started
