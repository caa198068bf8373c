"""The command ``mode-opt``; each subcommand is a module that is imported when it is used."""

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path

from mode_opt.errors import ConfigurationError, ModeOptError

COMMANDS = {
    "optimise": "optimise a detector design, verify the result and write a report",
    "simulate": "simulate events of one design into a ROOT file",
    "gradients": "compare gradient estimators at a design: bias, noise and cost of each",
    "compare": "optimise with several gradient estimators from the same start, with several seeds",
    "pareto": "the front of two or three goals: what each costs in terms of the others",
    "verify": "re-simulate start and final design of a run with fresh seeds",
    "tolerance": "how precisely the design of a run must be built, and what relaxing its limits buys",
    "report": "draw the figures and write the page of a run",
    "store": "look into the results of simulator runs, run a failed one again, export them",
    "geometry": "write the volumes of one design for Geant4, or its masses, lengths and costs",
    "detectors": "list the detectors that are installed, with parameters and simulators",
}

HELP = """usage: mode-opt COMMAND [options] [key=value ...]

{commands}

  mode-opt optimise --help     what can be configured (Hydra syntax)
  --detectors FOLDER           also use the detectors in FOLDER/*/ (or set MODE_OPT_DETECTORS)
  --debug                      show stack traces
  --version                    print the version
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; errors that a user can mend are printed in one line, exit code 2 (1 if unexpected)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or os.environ.get("HYDRA_FULL_ERROR") == "1"
    words = [word for word in words if word != "--debug"]
    try:
        words = _detector_folders(words)
        if not words or words[0] in ("-h", "--help", "help"):
            print(HELP.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())))
            return 0
        if words[0] == "--version":
            from mode_opt import __version__

            print(f"mode-opt {__version__}")
            return 0
        if words[0] not in COMMANDS:
            raise ConfigurationError("command", words[0], f"one of {', '.join(COMMANDS)}")
        return int(import_module(f"mode_opt.cli.{words[0]}").main(words[1:]) or 0)
    except Exception as error:
        if debug:
            traceback.print_exc()
            return 1
        return _explain(error)


def _detector_folders(words: list[str]) -> list[str]:
    """Take ``--detectors FOLDER`` out of the arguments and into the environment, which child processes share."""
    rest: list[str] = []
    folders = [folder for folder in os.environ.get("MODE_OPT_DETECTORS", "").split(os.pathsep) if folder]
    iterator = iter(words)
    for word in iterator:
        if word.split("=")[0] != "--detectors":
            rest.append(word)
            continue
        folder = word.partition("=")[2] or next(iterator, "")
        if not Path(folder).is_dir() or not folder:
            raise ConfigurationError("--detectors", folder, "a folder that holds folders of detectors")
        folders.append(str(Path(folder).resolve()))
    os.environ["MODE_OPT_DETECTORS"] = os.pathsep.join(dict.fromkeys(folders))
    return rest


def _explain(error: BaseException) -> int:
    """Print what a user needs to know of an error, and choose the exit code."""
    known: ModeOptError | None = None
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, ModeOptError):
            known = chain
            break
        chain = chain.__cause__ or chain.__context__
    if known is not None:
        print(f"mode-opt: {known}", file=sys.stderr)
        number = getattr(known, "signal", None)
        return 2 if number is None else 128 + int(number)
    module = type(error).__module__.partition(".")[0]
    if module in ("hydra", "omegaconf") or isinstance(error, OSError):
        options, listed, _ = str(error).partition("Config search path:")  # after a list with a line for each option
        print(f"mode-opt: {' '.join(options.split()) if listed else error}", file=sys.stderr)
        return 2
    print(f"mode-opt: unexpected {type(error).__name__}: {error}\n  (--debug shows where)", file=sys.stderr)
    return 1
