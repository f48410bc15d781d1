"""What a serving process sets for itself."""

import subprocess
import sys

SCRIPT = """
import gc
from service.rpc.process import NEW_OBJECTS_MAX, settle
settle()
assert gc.get_threshold()[0] == NEW_OBJECTS_MAX
assert gc.get_freeze_count() > 1000
assert gc.isenabled()
"""


def test_what_is_loaded_is_left_out_of_garbage_collection() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
