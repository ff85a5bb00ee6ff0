"""A simulated machine behind the Driver protocol, with a model of all that the phases do in a guest.

`driver` keeps the contract of `polis.drivers.base.Driver`, `guest` is the machine's inside, `world` the file in which
both live, so that they outlive a killed process.
"""

from tests.simulated.driver import SimulatedDriver

__all__ = ["SimulatedDriver"]
