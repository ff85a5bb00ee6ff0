"""The embedded driver: a real VM with nothing but a QEMU binary and OpenSSH; no daemon, no root.

host       which binaries and which acceleration this machine has
images     cached base images, verified by hash (download.py fetches what is not on this machine)
space      disk space of the host
disks      what may be a base image, and the overlay on top of it
keys, seed ssh keys and the NoCloud seed that carries them into the guest
argv       QEMU's command line, a pure function
create     making an instance
instance   the instance's directory and record
processes  which process is the instance's QEMU
qmp, power QEMU's control socket; switching on and off
console    the guest's serial console
ssh        commands over one multiplexed OpenSSH connection (remote.py is the guest's half, transfer.py moves files)
boot       waiting for the guest
driver     QemuDriver: policy
"""
