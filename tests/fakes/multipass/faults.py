"""The failures that a test can order, in the words of the facts' table (facts/multipass.md, section 2).

A file of a failure's name in `faults/` of the directory of state makes the verb fail so: for ever, or as often as the
number in it says. Besides these, `daemon-down`, `flapping` and `hangs` change how the daemon behaves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One failure. `row` is the name that the product's table has for it; `broken` leaves an instance behind."""

    row: str
    verb: str
    stderr: str
    code: int = 2
    broken: bool = False


_PEM = "/var/snap/multipass/common/data/multipassd/certificates/multipass_root_cert.pem"
_TS = "[2026-11-23T02:03:27.364] [error] "

FAULTS: dict[str, Fault] = {
    # daemon and client
    "unreachable": Fault("daemon-down", "list", "list failed: cannot connect to the multipass socket\n"),
    "unreachable-mid-launch": Fault("daemon-down", "launch", "launch failed: cannot connect to the multipass socket\n"),
    "socket-denied": Fault("socket-denied", "list", "list failed: multipass socket access denied\n"),
    "not-authenticated": Fault(
        "not-authenticated",
        "list",
        "list failed: The client is not authenticated with the Multipass service.\n"
        "Please use 'multipass authenticate' before proceeding.\n",
    ),
    "no-root-cert": Fault(
        "no-root-cert",
        "list",
        f"{_TS}[client] Caught an unhandled exception: failed to open file '{_PEM}': No such file or directory(2)\n",
        1,
    ),
    "client-cert": Fault(
        "client-cert",
        "list",
        "Caught an unhandled exception: failed to open file 'C:\\Users\\J?rg\\AppData\\Local\\multipass-client-"
        "certificate\\multipass_cert_key.pem': Illegal byte sequence(42)\n",
        1,
    ),
    "snap-home": Fault(
        "snap-home",
        "list",
        "Sorry, home directories outside of /home needs configuration.\nSee https://forum.snapcraft.io/t/11209\n",
        1,
    ),
    "usage": Fault("usage", "launch", "Unknown option 'nope'.\n", 1),
    "crashed": Fault("crashed", "launch", f"{_TS}[client] Caught an unhandled exception: std::bad_alloc\n", 1),
    # images
    "remote-unknown": Fault("remote-unknown", "launch", 'launch failed: Remote "" is unknown or unreachable.\n'),
    "download-failed": Fault(
        "download-failed",
        "launch",
        "launch failed: failed to download from 'https://cloud-images.ubuntu.com/releases/noble.img': "
        "Host cloud-images.ubuntu.com not found\n",
    ),
    "canceled": Fault("canceled", "launch", "launch failed: Operation canceled\n"),
    "hash-mismatch": Fault("hash-mismatch", "launch", "launch failed: Downloaded image hash does not match\n"),
    "hash-mismatch-of": Fault(
        "hash-mismatch", "launch", "launch failed: Hash of /vault/images/noble.img does not match\n"
    ),
    "no-image": Fault("no-image", "launch", 'launch failed: Unable to find an image matching "99.99" in remote "".\n'),
    "image-unsupported": Fault("no-image", "launch", "launch failed: The zesty release is no longer supported.\n"),
    "image-ambiguous": Fault("no-image", "launch", 'launch failed: Too many images matching "1"\n'),
    "no-image-file": Fault(
        "no-image-file", "launch", "launch failed: Custom image `/img/none.qcow2` does not exist.\n"
    ),
    "copy-failed": Fault(
        "copy-failed",
        "launch",
        "launch failed: Failed to copy /img/disk.qcow2 to /mpstore/data/vault/instances/pslow/disk.qcow2\n",
    ),
    "disk-below-image": Fault(
        "disk-below-image",
        "launch",
        "launch failed: Requested disk (1073741824 bytes) below minimum for this image (2023751680 bytes)\n",
    ),
    "host-disk-full": Fault(
        "host-disk-full",
        "launch",
        "launch failed: Available disk (1073741824 bytes) below minimum for this image (2023751680 bytes)\n",
    ),
    # the request
    "bad-name": Fault(
        "bad-name",
        "launch",
        "launch failed: Invalid arguments supplied\nInvalid instance name supplied: polis_bad\n",
    ),
    "bad-memory": Fault(
        "bad-size",
        "launch",
        "launch failed: Invalid arguments supplied\nInvalid memory size value supplied: 1M.\n",
    ),
    "bad-disk": Fault(
        "bad-size", "launch", "launch failed: Invalid arguments supplied\nInvalid disk size value supplied: 1M.\n"
    ),
    "bad-memory-word": Fault(
        "bad-size",
        "launch",
        f"{_TS}[client] Caught an unhandled exception: 1Q is not a valid memory size - need a non-negative integer "
        "(in base 10) or a decimal followed by K, M, or G (e.g. 1234B, 42MiB, 0.5G)\n",
        1,
    ),
    "bad-cpus": Fault("bad-size", "launch", "Error: invalid CPU count '0', need a positive integer value.\n", 1),
    "bad-network": Fault(
        "bad-network", "launch", "launch failed: Invalid arguments supplied\nInvalid network options supplied\n"
    ),
    "bad-timeout": Fault("bad-timeout", "launch", "error: --timeout value has to be a positive integer\n", 1),
    "bad-arguments": Fault("bad-arguments", "launch", "launch failed: Invalid arguments supplied\n"),
    "cloud-init-unreadable": Fault(
        "bad-cloud-init",
        "launch",
        "Could not load cloud-init configuration: bad file: /tmp/x.yaml\nPlease ensure that Multipass can read it.\n",
        1,
    ),
    "cloud-init-syntax": Fault(
        "bad-cloud-init",
        "launch",
        "Could not load cloud-init configuration: yaml-cpp: error at line 4, column 2: end of map not found\n",
        1,
    ),
    "already-exists": Fault("already-exists", "launch", 'launch failed: instance "polis" already exists\n'),
    "being-prepared": Fault("being-prepared", "launch", 'launch failed: instance "polis" is being prepared\n'),
    # the hypervisor
    "no-kvm": Fault("no-kvm", "launch", "launch failed: KVM support is not enabled on this machine.\n"),
    "kvm-device": Fault("no-kvm", "launch", "launch failed: The KVM device cannot be opened\n"),
    "other-hypervisor": Fault(
        "other-hypervisor", "launch", "launch failed: Another virtual machine manager is currently running.\n"
    ),
    "dnsmasq": Fault(
        "dnsmasq", "launch", "launch failed: Multipass dnsmasq died: exit 2. Ensure nothing is using port 53.\n"
    ),
    "firewall": Fault("firewall", "launch", "launch failed: Failed to set up iptables rules for subnet\n"),
    "no-hyperv": Fault("no-hyperv", "launch", "launch failed: Hyper-V service is set to disabled\n"),
    "no-virtualization": Fault(
        "no-hyperv", "launch", "launch failed: Virtualization support appears to be disabled in the BIOS.\n"
    ),
    "no-memory": Fault(
        "no-memory",
        "launch",
        "launch failed: The following errors occurred:\nqemu-system-x86_64: cannot set up guest memory 'pc.ram': "
        "Cannot allocate memory\npbig: shutdown called while starting\n",
        broken=True,
    ),
    "too-many-cpus": Fault(
        "too-many-cpus",
        "launch",
        "launch failed: The following errors occurred:\nqemu-system-x86_64: Invalid SMP CPUs 512. The max CPUs "
        "supported by machine 'pc-i440fx-10.0' is 255\npcpu: shutdown called while starting\n",
        broken=True,
    ),
    "died-while-starting": Fault(
        "died-while-starting",
        "launch",
        "launch failed: The following errors occurred:\npolis: shutdown called while starting\n",
        broken=True,
    ),
    # waiting
    "client-timeout": Fault("client-timeout", "launch", "Timed out waiting for instance launch.\n", 5),
    "start-timeout": Fault("client-timeout", "start", "Timed out waiting for instance to start.\n", 5),
    "init-timeout": Fault(
        "init-timeout",
        "launch",
        "launch failed: The following errors occurred:\ntimed out waiting for initialization to complete\n",
    ),
    "ssh-timeout": Fault(
        "ssh-timeout",
        "launch",
        "launch failed: The following errors occurred:\npolis: timed out waiting for response\n",
    ),
    # power
    "needs-force": Fault(
        "needs-force",
        "stop",
        "stop failed: Cannot shut down instance polis while starting.\nUse --force to power it off.\n",
    ),
    "suspended-needs-force": Fault(
        "needs-force",
        "stop",
        "stop failed: Cannot shut down suspended instance polis.\nUse --force to power it off.\n",
    ),
    "deaf-to-shutdown": Fault(
        "deaf-to-shutdown",
        "stop",
        "stop failed: The QEMU process did not finish within 300000 milliseconds after being shutdown\n",
    ),
    "unknown-state": Fault(
        "unknown-state",
        "start",
        "start failed: The following errors occurred:\nInstance 'polis' is already running, but in an unknown state.\n"
        "Try to stop it first.\n",
    ),
    "suspending": Fault("suspending", "start", "start failed: Cannot start the instance 'polis' while suspending.\n"),
    "feature-missing": Fault(
        "feature-missing", "stop", "stop failed: The suspend feature is not implemented on this backend.\n"
    ),
    # the instance
    "deleted": Fault("deleted", "exec", 'exec failed: The following errors occurred:\ninstance "polis" is deleted\n'),
    "deleted-start": Fault(
        "deleted",
        "start",
        "start failed: instance(s) missing\nInstance 'polis' is deleted. Use 'recover' to recover it or 'purge' to "
        "permanently delete it.\n",
    ),
    "no-instance": Fault(
        "no-instance", "exec", 'exec failed: The following errors occurred:\ninstance "polis" does not exist\n'
    ),
    "no-credentials": Fault("no-credentials", "exec", "exec failed: Cannot retrieve credentials in unknown state\n"),
    "not-running": Fault("not-running", "transfer", 'transfer failed: instance "polis" is not running\n'),
    "about-to-stop": Fault(
        "about-to-stop",
        "exec",
        "exec failed: \"polis\" is scheduled to shut down in less than a minute, use 'multipass stop --cancel polis' "
        "to cancel the shutdown.\n",
    ),
    # ssh
    "ssh-dropped": Fault(
        "ssh-dropped", "exec", "exec failed: ssh connection failed: 'Socket error: Connection reset by peer'\n"
    ),
    "ssh-channel": Fault("ssh-dropped", "exec", "exec failed: [ssh client] channel creation failed\n"),
    "ssh-broken": Fault("ssh-broken", "exec", "exec failed: [ssh client] exec request failed\n"),
    "ssh-refused": Fault("ssh-refused", "exec", "exec failed: ssh connection failed: 'Connection refused'\n"),
    "ssh-slow": Fault("ssh-refused", "exec", "exec failed: ssh connection failed: 'Timeout connecting to 10.1.2.3'\n"),
    "no-route": Fault(
        "no-route", "exec", "exec failed: ssh connection failed: 'Failed to connect: No route to host'\n"
    ),
    "no-hostname": Fault(
        "no-hostname", "exec", "exec failed: ssh connection failed: 'Failed to resolve hostname polis.mshome.net'\n"
    ),
    "ssh-denied": Fault(
        "ssh-denied",
        "exec",
        "exec failed: ssh failed to authenticate: 'Access denied for 'publickey'. Authentication that can continue: "
        "publickey,password'\n",
    ),
    # files
    "guest-file": Fault(
        "guest-file",
        "transfer",
        f"{_TS}[sftp] cannot write to remote file /tmp/big2: SFTP server: Failure\n",
    ),
    "host-file": Fault("host-file", "transfer", f"{_TS}[sftp] cannot access /t/none.txt: No such file or directory\n"),
}
