"""A `multipass` for tests: a program on PATH that behaves as 1.16.3 was observed to, traps included.

install     the program, its directory of state, what tests do to it (a fixture's half)
program     the command line: arguments, exit codes
verbs       what each verb does and says
executing   exec and shell, with the loop on exit code 4 and stdin's end at 2 MiB
transfers   transfer, with its nesting
daemon      the service: instances whose state follows from the time, so that it outlives killed clients
world       the directory of state: instances, times, faults, the calls that were made
faults      the failures that can be ordered, by name
printing    JSON, tables and the spinner, byte for byte
documents   what becomes of a cloud-init document
guest       what a guest must be able to do, and which one is used
simulated   a guest without a VM: commands run on this machine; tool is its half in the guest

The directory of state is named by POLIS_FAKE_MULTIPASS, the guest's factory (`module:callable`) by
POLIS_FAKE_MULTIPASS_GUEST. It runs on Linux: what other platforms do differently is tested by table.
"""
