"""A local world for demonstrations and tests: a VM image, a registry with images, and faults on demand.

Nothing in here is shipped. Production code runs in it unchanged; only `lab/polis.yaml` points it at this world.
"""
