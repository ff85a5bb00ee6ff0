"""The tests of agents, in a container: what they are about is inside, where a VM and a container are alike."""

from __future__ import annotations

import pytest

from tests.e2e.test_agents import *  # noqa: F403 -- the very same tests, with this directory's fixtures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
