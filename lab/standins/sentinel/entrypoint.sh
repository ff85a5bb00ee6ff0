#!/bin/sh
exec /usr/bin/c-icap -N -D -f /etc/c-icap/c-icap.conf
