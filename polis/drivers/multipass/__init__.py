"""What users have: Multipass 1.16 and later, driven through its command line.

host       what this platform lets the client do, and what its service is called
rows       what a row of the failures' table is
table      the tool's texts and exit codes: what each means, and who mends it (data; table_launch, table_guest)
advice     hints that several rows share
failures   reading the tool's words with that table
records    what `list` and `version` print, every state string mapped
client     Multipass verb for verb: argument lists, limits, typed answers and failures; no policy
patience   how long what may take
commands   a guest command with its exit code carried in-band (remote.py is the guest's half)
transfer   files: staged, compared by hash, renamed into place
images     what `launch` is given as its image, its sizes
userdata   the cloud-init document: the owner's stamp, and quotes that survive Multipass
power      switching off, and seeing that it is off
unborn     instances whose image an earlier launch still prepares
errand     a client that runs beside us, so that a launch can be watched and joined
arrival    waiting for an instance, whatever became of the client that started it
driver     MultipassDriver: policy

Ownership. Multipass lets nothing be attached to an instance, so `find` cannot tell whose it is (`Instance.owner` is
None): the record and the guest's marker decide, above the driver. `launch` looks deeper: the document that it hands
over leaves the owner's id in the guest (userdata.STAMP), and a machine with another id is refused.

Ports. An instance has an address of its own; Multipass forwards nothing, so a request with forwards is refused.
"""
