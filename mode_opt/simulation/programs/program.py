"""Any program with a command line, described in YAML."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

from mode_opt.campaigns import Arrays, Job, Work
from mode_opt.errors import ConfigurationError
from mode_opt.simulation.programs.files import Files, relative
from mode_opt.simulation.programs.outputs import Output, output_of
from mode_opt.simulation.programs.primaries import Primaries, primaries_of
from mode_opt.simulation.programs.running import RESERVED, Limits, bytes_of, command_line, run_program
from mode_opt.simulation.programs.templates import Template, value_of, written
from mode_opt.units import parse_unit

_IN_FOLDER = re.compile(r"\s*\{\{-?\s*folder\s*-?\}\}/([^{}]+)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN = ("design", "events", "seed", "output", "primaries", "primary", "run_folder", "folder", "python")


@final
class ExternalProgram(Work):
    """A program that is told a design by its arguments, files or environment, and writes its events to a file.

    In YAML, for a program that wants centimetres and writes one row an event (all keys: ``docs/external.md``):

    .. code-block:: yaml

        _target_: mode_opt.simulation.ExternalProgram
        folder: /home/me/shower
        command: [shower, --absorber, '{{ absorber_thickness | to("cm") }}', --layers, "{{ layers | integer }}",
                  --beam, "{{ primaries }}", --seed, "{{ seed }}", --output, "{{ output }}"]
        primaries: {file: primaries.csv, columns: {E: energy}, units: {E: GeV}}
        output: {file: showers.csv, hits: {deposit: "edep_{0..49}"}, units: {deposit: GeV}}
        time_limit: 60

    Placeholders are Jinja2: parameters and derived quantities of the design in field units (mm, MeV, ns, tesla,
    radians), ``design`` (all of them), ``events``, ``seed``, ``output`` and ``primaries`` (paths), ``primary`` (lists
    by name), ``run_folder``, ``folder``, ``python`` (the interpreter that runs mode_opt); filters ``to(unit)`` and
    ``integer``. Arguments never pass through a shell.

    Args:
        command: the program, a file in ``folder`` or in PATH, and its arguments; templates.
        output: what it writes, a mapping: ``file``, ``format``, ``hits``, ``units``, ``weight``, ``event``, ``counts``.
        folder: where its files lie here; not part of what results depend on.
        prefix: arguments before the command, such as those of a container; templates.
        files: in ``folder``, whose content results depend on; the program, templates and arguments of the form
            ``{{ folder }}/NAME`` are always among them.
        inputs: name in the run's folder and the template for its content: a file in ``folder``, or ``{text: ...}``.
        environment: variables to be added; templates.
        primaries: None: the program makes its own; ``{file: NAME, columns: ..., units: ...}``: written to a file;
            ``{uniform: true}``: one value for the whole run, a placeholder.
        time_limit: seconds.
        memory_limit: address space, such as ``2 GB`` (Linux).
        success: exit codes of a run that went well.
        version: any text that results depend on.
        dimensions: units in which the design declares its quantities: the filter ``to`` refuses others.

    Raises:
        ConfigurationError: for templates, files and keys that cannot be used.
    """

    kind = "program"
    local = frozenset({"folder", "time_limit", "memory_limit", "dimensions"})

    def __init__(
        self,
        command: Sequence[str],
        output: Mapping[str, Any],
        folder: str | Path = ".",
        prefix: Sequence[str] = (),
        files: Sequence[str] = (),
        inputs: Mapping[str, str | Mapping[str, str]] | None = None,
        environment: Mapping[str, str] | None = None,
        primaries: Mapping[str, Any] | None = None,
        time_limit: float | None = None,
        memory_limit: str | None = None,
        success: Sequence[int] = (0,),
        version: str = "",
        dimensions: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser().absolute()
        if not self.folder.is_dir():
            words = "a folder that exists: has the program been built or installed?"
            raise ConfigurationError("program.folder", str(folder), words)
        self._given: dict[str, Any] = _plain(
            {
                **{"command": _texts(command), "output": output, "folder": str(self.folder)},
                **{"prefix": _texts(prefix), "files": files},
                **{"inputs": inputs or {}, "environment": _texts(environment or {}), "primaries": primaries},
                **{"time_limit": time_limit, "memory_limit": memory_limit, "success": success},
                **{"version": str(version), "dimensions": dimensions or {}},
            }
        )
        self._command = _templates("program.command", self._given["command"])
        if not self._command:
            raise ConfigurationError("program.command", command, "a list: the program and its arguments")
        self._output: Output = output_of(self._given["output"])
        self._prefix = _templates("program.prefix", self._given["prefix"])
        self._inputs = dict(self._input(name, given) for name, given in self._entries("inputs"))
        self._environment = dict(_variable(*pair) for pair in self._entries("environment"))
        self._primaries: Primaries = primaries_of(self._given["primaries"])
        codes = self._given["success"]
        self._limits = Limits(time_limit, bytes_of(memory_limit), tuple(codes) if isinstance(codes, list) else codes)
        self._units = {n: parse_unit(unit, f"program.dimensions.{n}") for n, unit in self._entries("dimensions")}
        self._files = Files(self.folder, self._file_names())

    def description(self) -> dict[str, Any]:
        return {**self._given, "fingerprint": self._files.checksums}

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Self:
        fields = dict(description)
        fingerprint = fields.pop("fingerprint", {})
        try:
            work = cls(**fields)
        except TypeError as error:
            raise ConfigurationError("program", sorted(fields), f"keys of an external program ({error})") from error
        work._files.compare(fingerprint)
        return work

    def run(self, job: Job, folder: Path) -> Arrays:
        folder = folder.absolute()
        self._files.unchanged()
        context = self._context(job, folder)
        for name, template in self._inputs.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(template.render(context))
        self._primaries.write(job, folder)
        self._output.prepare(folder)
        run_program(*self._told(context, folder), self._output.printed, self._limits)
        return self._output.read(folder, job.events)

    def command(self, job: Job) -> str:
        """The command line, to be given in a folder that holds the input files (a failed job's folder does)."""
        arguments, _, environment = self._told(self._context(job, Path()), Path())
        return command_line(arguments, environment)

    def limit(self) -> float | None:
        return self._limits.seconds

    @property
    def uniform_primaries(self) -> bool:
        return self._primaries.uniform

    def _told(self, context: Mapping[str, Any], folder: Path) -> tuple[list[str], Path, dict[str, str]]:
        """Arguments, working directory and environment of the program."""
        arguments = [template.render(context) for template in (*self._prefix, *self._command)]
        for place in {0, len(self._prefix)}:
            own = self.folder / arguments[place]
            if own.is_file():
                arguments[place] = str(own)
        return arguments, folder, {name: template.render(context) for name, template in self._environment.items()}

    def _context(self, job: Job, folder: Path) -> dict[str, Any]:
        """What templates know.

        Raises:
            ConfigurationError: if a design value is no number and no name, or a name is taken.
        """
        design = {name: value_of(name, value, self._units.get(name)) for name, value in job.design.items()}
        told = {
            name: value_of(name, value, self._units.get(name)) for name, value in self._primaries.context(job).items()
        }
        if taken := (design.keys() & told.keys()) | ((design.keys() | told.keys()) & set(_OWN)):
            words = f"names of parameters and primaries that differ from each other and from {', '.join(_OWN)}"
            raise ConfigurationError("design", ", ".join(sorted(taken)), words)
        context = {**design, **told, "design": design, "events": job.events, "seed": job.seed}
        context |= {"run_folder": str(folder), "folder": str(self.folder), "python": sys.executable}
        if not self._output.printed:
            context["output"] = str(self._output.path(folder))
        if self._primaries.file is not None:
            context["primaries"] = str(folder / self._primaries.file)
        context["primary"] = _Lazy(job)
        return context

    def _entries(self, name: str) -> Iterable[tuple[str, Any]]:
        given = self._given[name]
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"program.{name}", given, "a mapping by name")
        return given.items()

    def _input(self, name: str, given: Any) -> tuple[str, Template]:
        """A file of the run's folder and its template."""
        key = f"program.inputs.{name}"
        if relative(key, name) in RESERVED or name == self._given["output"].get("file"):
            raise ConfigurationError(key, name, f"another name than the output's and {', '.join(RESERVED)}")
        if isinstance(given, Mapping) and set(given) == {"text"}:
            return name, Template(key, given["text"])
        path = self.folder / relative(key, given)
        try:
            return name, Template(key, path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(key, str(path), f"a text file ({error})") from error

    def _file_names(self) -> Iterator[str]:
        """Files that results depend on: those listed, templates, the program, and arguments below the folder."""
        given = self._given
        if isinstance(given["files"], str):
            raise ConfigurationError("program.files", given["files"], "a list of names")
        yield from given["files"]
        yield from (template for template in given["inputs"].values() if isinstance(template, str))
        arguments = [*given["prefix"], *given["command"]]
        below = [match[1] for argument in arguments if (match := _IN_FOLDER.fullmatch(argument))]
        for name in [Path(each) for each in (*given["prefix"][:1], given["command"][0], *below)]:
            if not name.is_absolute() and ".." not in name.parts and (self.folder / name).is_file():
                yield str(name)


@final
class _Lazy(Mapping[str, list[Any]]):
    """Primaries as lists, made when a template asks for them."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __getitem__(self, name: str) -> list[Any]:
        return list(self._job.primaries[name].tolist())

    def __iter__(self) -> Iterator[str]:
        return iter(self._job.primaries)

    def __len__(self) -> int:
        return len(self._job.primaries)


def _templates(key: str, given: Any) -> list[Template]:
    if not isinstance(given, list):
        raise ConfigurationError(key, given, "a list of arguments; no shell takes a line apart")
    return [Template(f"{key}[{k}]", each) for k, each in enumerate(given)]


def _variable(name: str, given: Any) -> tuple[str, Template]:
    key = f"program.environment.{name}"
    if not _VARIABLE.fullmatch(name):
        raise ConfigurationError(key, name, "the name of a variable")
    return name, Template(key, given)


def _texts(given: Any) -> Any:
    """Numbers among arguments or variables as texts, as a person means them; anything else as it is."""
    if isinstance(given, Mapping):
        return {name: _text(each) for name, each in given.items()}
    if isinstance(given, Sequence) and not isinstance(given, str):
        return [_text(each) for each in given]
    return given


def _text(given: Any) -> Any:
    return str(written(given)) if isinstance(given, int | float) and not isinstance(given, bool) else given


def _plain(value: Any) -> Any:
    """As JSON has it, from whatever YAML and Hydra give."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
