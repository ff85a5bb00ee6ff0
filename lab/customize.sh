#!/bin/sh
# Turns a fresh root file system into the lab's cloud image. mmdebstrap runs it as root on the host with the
# root file system as $1. LAB_ROOTFS is the tree of files to lay over it.
set -eu
root=$1

cp -R --no-preserve=mode,ownership,timestamps "$LAB_ROOTFS/." "$root/"

# The image names no package source and no host of the machine that built it: a document brings its own.
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
rm -f "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap

# Identity belongs to an instance. An empty machine-id (unlike a missing one) does not make systemd apply its
# presets at first boot, which would enable everything that is disabled below.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/var/lib/dbus/machine-id "$root"/etc/hostname
: > "$root/etc/machine-id"

# Profiles for programs that are not here would be compiled at every boot. Docker brings its own.
find "$root/etc/apparmor.d" -maxdepth 1 -type f -delete

# The kernel unpacks a module far more slowly under emulation than it reads one from the disk.
find "$root/usr/lib/modules" -name '*.ko.xz' -exec xz -dq -T0 {} +
for modules in "$root"/usr/lib/modules/*; do
    chroot "$root" depmod "$(basename "$modules")"
done

systemctl_in() { chroot "$root" systemctl --quiet "$@"; }
systemctl_in enable systemd-networkd.service
systemctl_in disable \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
# wait-online waits two minutes for links nobody configured; sshd-keygen makes the RSA key cloud-init leaves out;
# nobody can log in on a console, for every password is locked.
systemctl_in mask \
    systemd-networkd-wait-online.service sshd-keygen.service cloud-init-hotplugd.socket \
    getty@tty1.service serial-getty@ttyS0.service
# What looks for hardware or debugging that this machine has not: each is a process, or a module with its own.
systemctl_in mask \
    modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service \
    modprobe@dm_mod.service modprobe@loop.service systemd-pstore.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
    dev-hugepages.mount proc-sys-fs-binfmt_misc.automount systemd-binfmt.service systemd-hibernate-clear.service \
    systemd-journald-audit.socket systemd-network-generator.service systemd-udev-load-credentials.service
mkdir -p "$root/etc/systemd/system-generators"
for name in debug getty gpt-auto hibernate-resume rc-local run ssh system-update sysv tpm2; do
    ln -s /dev/null "$root/etc/systemd/system-generators/systemd-$name-generator"
done

# Newer than /usr, these say that caches (linker, catalogue, users) are as the packages left them.
touch "$root/etc/.updated" "$root/var/.updated"
