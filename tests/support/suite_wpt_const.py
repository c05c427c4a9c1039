"""Where the resources of the web platform tests are: a server on this machine, which `suite_wpt_conftest.py` starts."""

from __future__ import annotations

import os

WPT_SERVER = os.environ["WPT_SERVER"]
