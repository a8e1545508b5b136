"""Checks programs in one world, in one process, and prints what was found: a JSON object a line.

Usage: python run_programs.py WORLD NUM_RANKS FILE:ARGUMENT…
"""

import json
import sys
import warnings

# Its functions' default group is the one that exists when it is first imported.
import torch.distributed.nn.functional  # noqa: F401
from polyrank.divergence.checking import check_agreement
from polyrank.worlds.run_options import RunOptions


def main() -> None:
    warnings.simplefilter("ignore")
    world, num_ranks, *programs = sys.argv[1:]
    for program in programs:
        file, _, argument = program.rpartition(":")
        options = RunOptions(
            script=file,
            arguments=(argument,),
            is_module=False,
            world=world,
            world_size=int(num_ranks),
            local_world_size=int(num_ranks),
            device=None,
            json_file=None,
        )
        checked = check_agreement(options)
        told = {
            "program": program,
            "exit_code": checked.outcome.exit_code,
            "failure": checked.outcome.failure,
            "findings": [finding.to_dict() for finding in checked.findings],
            "texts": [finding.text() for finding in checked.findings],
            "watched": checked.meeting.watched,
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
