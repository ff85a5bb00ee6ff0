"""The tests of certificates, secrets, images and upgrades, in a container: there a VM and a container are alike."""

from __future__ import annotations

import pytest

from tests.e2e.test_contents import *  # noqa: F403 -- the very same tests, with this directory's fixtures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
