"""Machines of an Incus or LXD server: this one, a remote one or a cluster, driven through the command line.

settings   what of it the user configures
tool       which of the two commands there is, what the user types, how sizes are written
table      the tool's texts: what each means, and what the user does about it (data)
failures   reading the tool's words with that table
records    what the server says of an instance: states, keys, sizes, addresses
client     the tool verb for verb: argument lists, limits, typed answers and failures; no policy
patience   how long what may take
birth      what an instance is created from: image, kind, configuration
forwards   ports of the server's loopback that lead into a container
remote     the guest's half of a command: as which user, its limit, its exit code told in-band
commands   guest commands
transfer   files: streamed, compared by hash, renamed into place
endpoint   where the server's own interface is, from the client's settings
api        that interface: one request at a time
entries    named texts in the server's database, for what all operators share
arrival    waiting for an instance, whatever became of whoever created or started it
snapshots  snapshots of instances, and templates that others begin as
driver     IncusDriver: policy

Ownership. The instance itself tells whose it is: `user.polis.owner` holds the workspace's id and `user.polis.workspace`
its name, both from the moment it exists, for they are part of the request that creates it.

Placement, networks and storage are the server's business: its profiles and its scheduler decide, the configuration
may name a target.
"""
