"""Rows about creating an instance: its image, the request, the hypervisor."""

from __future__ import annotations

from polis.drivers.multipass import advice
from polis.drivers.multipass.host import SERVICE
from polis.drivers.multipass.rows import Kind, Row
from polis.errors import (
    ConfigurationError,
    DriverUnavailable,
    ForeignInstance,
    HostUnsuitable,
    IntegrityError,
    LaunchFailed,
    Transient,
)

LAUNCH = (
    Row(
        "already-exists",
        r"instance \".*\" already exists",
        Kind.PERMANENT,
        ForeignInstance,
        "choose another name with `-n`; `multipass list` shows all, deleted ones too",
    ),
    Row("being-prepared", r"instance \".*\" is being prepared", Kind.TRANSIENT, DriverUnavailable, advice.WAIT),
    Row(
        "bad-name",
        r"Invalid instance name supplied",
        Kind.PERMANENT,
        ConfigurationError,
        "a name has letters, digits and dashes, begins with a letter and does not end with a dash",
    ),
    Row(
        "bad-size",
        r"Invalid (memory|disk) size value supplied|is not a valid memory size|invalid CPU count",
        Kind.PERMANENT,
        ConfigurationError,
        advice.SIZES,
    ),
    Row("bad-network", r"Invalid network options supplied|Bad network ", Kind.PERMANENT, ConfigurationError),
    Row("bad-timeout", r"--timeout value has to be a positive integer", Kind.PERMANENT, ConfigurationError),
    Row(
        "bad-cloud-init",
        r"Could not load cloud-init configuration: ",
        Kind.PERMANENT,
        ConfigurationError,
        "`polis cloud-init check` tells what is wrong with the document",
    ),
    Row("bad-arguments", r"Invalid arguments supplied", Kind.PERMANENT, ConfigurationError, advice.SIZES),
    Row(
        "client-timeout",
        r"Timed out waiting for instance (launch|to start|to restart)",
        Kind.TRANSIENT,
        LaunchFailed,
        advice.WAIT,
        codes=(5,),
    ),
    Row("init-timeout", r"timed out waiting for initialization to complete", Kind.TRANSIENT, LaunchFailed, advice.WAIT),
    Row("ssh-timeout", r"timed out waiting for response", Kind.TRANSIENT, LaunchFailed, advice.DHCP),
)

IMAGES = (
    Row("remote-unknown", r"Remote \".*\" is unknown or unreachable", Kind.TRANSIENT, Transient, advice.REFRESH_IMAGES),
    Row("canceled", r"Operation canceled", Kind.TRANSIENT, Transient, SERVICE),
    Row(
        "hash-mismatch",
        r"[Hh]ash of .* does not match|image hash does not match",
        Kind.TRANSIENT,
        IntegrityError,
        advice.REFRESH_IMAGES,
    ),
    Row(
        "download-failed",
        r"failed to download from '",
        Kind.TRANSIENT,
        Transient,
        "check the network, and the proxy of Multipass' service, then run the command again",
    ),
    Row(
        "copy-failed",
        r"Failed to copy .* to ",
        Kind.TRANSIENT,
        LaunchFailed,
        "check the host's disk space, then run the command again",
    ),
    Row(
        "no-image",
        r"Unable to find an image matching|release is no longer supported|Too many images matching",
        Kind.PERMANENT,
        ConfigurationError,
        advice.IMAGE,
    ),
    Row(
        "no-image-file",
        r"Custom image .* does not exist",
        Kind.PERMANENT,
        ConfigurationError,
        {
            "linux": "check `image`: Multipass' service must be able to read the file",
            "snap": "move the image below your home (not below /tmp or a hidden directory): "
            "the snap's service sees nothing else",
            "darwin": "check `image`: Multipass' service must be able to read the file",
            "win32": "check `image`: Multipass' service must be able to read the file",
        },
    ),
    Row(
        "disk-below-image",
        r"Requested disk \(\d+ bytes\) below minimum for this image",
        Kind.PERMANENT,
        ConfigurationError,
        "raise `disk` in the configuration, then run the command again",
    ),
    Row(
        "host-disk-full",
        r"Available disk \(\d+ bytes\) below minimum",
        Kind.USER,
        HostUnsuitable,
        "free some disk space, then run the command again",
    ),
)

HYPERVISOR = (
    Row(
        "no-kvm",
        r"KVM support is not enabled|KVM device cannot be opened",
        Kind.USER,
        HostUnsuitable,
        advice.VIRTUALIZATION,
    ),
    Row(
        "other-hypervisor",
        r"Another virtual machine manager is currently running",
        Kind.USER,
        HostUnsuitable,
        "stop the other virtual machine manager (VirtualBox, VMware), then run the command again",
    ),
    Row(
        "dnsmasq",
        r"dnsmasq (died|failed to start)",
        Kind.USER,
        HostUnsuitable,
        "free port 53 on Multipass' bridge (`sudo ss -lpn sport = :53` shows who holds it), restart Multipass, "
        "then run the command again",
    ),
    Row("firewall", r"iptables|nftables", Kind.USER, HostUnsuitable, advice.NETWORK),
    Row(
        "no-hyperv",
        r"Hyper-V (service|Windows feature|Hypervisor)|Virtualization support appears to be disabled",
        Kind.USER,
        HostUnsuitable,
        advice.VIRTUALIZATION,
    ),
    Row(
        "no-memory",
        r"cannot set up guest memory",
        Kind.USER,
        HostUnsuitable,
        "lower `memory` in the configuration or free some, then `polis up --recreate`",
    ),
    Row(
        "too-many-cpus",
        r"Invalid SMP CPUs",
        Kind.PERMANENT,
        ConfigurationError,
        "lower `cpus` in the configuration, then `polis up --recreate`",
    ),
    Row(
        "died-while-starting",
        r"shutdown called while starting|Instance shutdown during start|qemu quit unexpectedly"
        r"|failed to start qemu instance",
        Kind.USER,
        LaunchFailed,
        "check memory and disk space of this machine, then run the command again",
    ),
)
