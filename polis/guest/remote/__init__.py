"""What runs inside the VM, as root, on the guest's own Python (3.10 or newer, standard library only).

These modules are sent with each call (`polis.guest.shipping`), so guest and host can never be of two versions. Each
prints JSON lines on stdout; their last line is the answer.
"""
