#!/bin/sh
# Turns a fresh root file system into the lab's container image. mmdebstrap runs it as root on the host with the
# root file system as $1. LAB_ROOTFS is the tree of files to lay over it.
set -eu
root=$1

cp -R --no-preserve=mode,ownership,timestamps "$LAB_ROOTFS/." "$root/"

# The image names no package source and no host of the machine that built it: a document brings its own.
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
rm -f "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap

# Identity belongs to an instance.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/var/lib/dbus/machine-id "$root"/etc/hostname
: > "$root/etc/machine-id"
: > "$root/etc/resolv.conf"

# Profiles for programs that are not here would be compiled at every boot. Docker brings its own.
find "$root/etc/apparmor.d" -maxdepth 1 -type f -delete

systemctl_in() { chroot "$root" systemctl --quiet "$@"; }
systemctl_in enable systemd-networkd.service
systemctl_in disable \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
# wait-online waits two minutes for links nobody configured; the rest is for hardware and consoles.
systemctl_in mask \
    systemd-networkd-wait-online.service cloud-init-hotplugd.socket console-getty.service getty@tty1.service \
    systemd-journald-audit.socket systemd-network-generator.service \
    proc-sys-fs-binfmt_misc.automount systemd-binfmt.service
