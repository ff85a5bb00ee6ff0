"""What the user types next: hints that several rows of the table share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WAIT = "run the command again: it goes on from here"
SIZES = "correct `cpus`, `memory` and `disk` in the configuration, then run the command again"
IMAGE = "choose another `image`; `multipass find` lists those that Multipass knows"
REFRESH_IMAGES = "refresh Multipass' list of images with `multipass find --force-update`, then run the command again"
POWER_OFF = "switch it off with `polis stop`, then run `polis up` again"
NETWORK: Mapping[str, str] = {
    "linux": "check that no VPN or firewall takes the VM's network, then run the command again",
    "snap": "check that no VPN or firewall takes the VM's network, then run the command again",
    "darwin": "allow your terminal under System Settings > Privacy & Security > Local Network, check VPN and firewall, "
    "then run the command again",
    "win32": "check that no VPN takes the VM's network, and the VM's entry in "
    "C:\\Windows\\System32\\drivers\\etc\\hosts.ics, then run the command again",
}
VIRTUALIZATION: Mapping[str, str] = {
    "linux": "switch virtualization on in the firmware, and check that you may use /dev/kvm",
    "snap": "switch virtualization on in the firmware, then `sudo snap connect multipass:kvm`",
    "darwin": "bring Multipass up to date with `brew upgrade --cask multipass`",
    "win32": "switch virtualization on in the firmware, then `Enable-WindowsOptionalFeature -Online "
    "-FeatureName Microsoft-Hyper-V -All` (PowerShell as administrator)",
}
DHCP: Mapping[str, str] = {
    **NETWORK,
    "darwin": "let the firewall pass bootpd: `sudo /usr/libexec/ApplicationFirewall/socketfilterfw "
    "--add /usr/libexec/bootpd --unblock /usr/libexec/bootpd`; check VPNs, then run the command again",
}
