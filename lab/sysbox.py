"""The stand-in for Sysbox: a package of its name, version and shape, in which plain runc answers as sysbox-runc.

Its bytes depend on nothing but this file, so that its sha256 can be stated where the real one's would be.
"""

from __future__ import annotations

from lab import deb

NAME = "sysbox-ce_0.6.7-0.linux_amd64.deb"
SHA256 = "65f168dc9c698cd8206a39bf019ea89207830a9f9b7eb02e9da08dd9980d2404"

CONTROL = {
    "Package": "sysbox-ce",
    "Version": "0.6.7-0.linux",
    "Architecture": "amd64",
    "Maintainer": "Polis lab <lab@localhost>",
    "Depends": "runc",
    "Section": "devel",
    "Priority": "optional",
    "Description": "the lab's stand-in for the Sysbox container runtime",
}

DAEMON = """\
#!/bin/sh
# Stays in the foreground, as the daemon of this name does, and does nothing.
trap 'exit 0' TERM INT
sleep infinity &
wait
"""
DAEMON_UNIT = """\
[Unit]
Description={name} (lab stand-in)
PartOf=sysbox.service
Before=docker.service

[Service]
ExecStart=/usr/bin/{name}
Restart=on-failure
"""
SYSBOX_UNIT = """\
[Unit]
Description=Sysbox container runtime (lab stand-in)
Requires=sysbox-mgr.service sysbox-fs.service
After=sysbox-mgr.service sysbox-fs.service
Before=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true

[Install]
WantedBy=multi-user.target
"""
POSTINST = """\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
# Like the real one: Docker is stopped, and starting it again is up to whoever installs this.
systemctl --quiet stop docker.socket docker.service 2>/dev/null || true
systemctl --quiet daemon-reload
systemctl --quiet enable --now sysbox.service
"""
PRERM = """\
#!/bin/sh
set -e
[ "$1" = remove ] || exit 0
systemctl --quiet disable --now sysbox.service sysbox-mgr.service sysbox-fs.service
"""


def build() -> bytes:
    """Return the package."""
    daemons = ("sysbox-mgr", "sysbox-fs")
    return deb.build(
        CONTROL,
        files=[
            # Where Debian has runc.
            deb.Entry("/usr/bin/sysbox-runc", link="/usr/sbin/runc"),
            *(deb.Entry(f"/usr/bin/{name}", DAEMON.encode(), 0o755) for name in daemons),
            *(_unit(f"{name}.service", DAEMON_UNIT.format(name=name)) for name in daemons),
            _unit("sysbox.service", SYSBOX_UNIT),
        ],
        scripts={"postinst": POSTINST, "prerm": PRERM},
    )


def _unit(name: str, text: str) -> deb.Entry:
    return deb.Entry(f"/usr/lib/systemd/system/{name}", text.encode())
