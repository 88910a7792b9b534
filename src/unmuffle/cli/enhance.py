"""``unmuffle enhance``: clean files, folders and pipes."""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ParameterError, UnmuffleError
from . import common, stopping

if TYPE_CHECKING:
    from ..engine.beams import ArrayPlan
    from ..engine.files import Report
    from ..engine.plan import Job
    from ..enhancers.base import Enhancer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="enhance")(enhance)


def enhance(
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Audio or video files, folders, globs, or - for a pipe.")
    ],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="OUT|DIR", help="File or folder; default: NAME.enhanced.EXT."),
    ] = None,
    method: Annotated[
        str, typer.Option("-m", "--method", help="A name from `unmuffle methods`, several joined by +, or auto.")
    ] = "auto",
    model: Annotated[
        str | None, typer.Option(metavar="FILE", help="A network file of your own (.onnx) instead of a method.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the method; may be repeated."),
    ] = None,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="Method and parameters from a TOML file.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="SPAN|FILE", help="Where only noise is heard: 0-0.5 (seconds), or a file of noise."),
    ] = None,
    strength: Annotated[
        str, typer.Option(metavar="DB", help="Most attenuation, in dB: 0 changes nothing, full is no limit.")
    ] = "full",
    repair: common.Repair = "",
    stereo: Annotated[str, typer.Option(help="linked, independent or mid-side.")] = "linked",
    array: Annotated[
        str | None,
        typer.Option(metavar="ARRAY", help="The microphones: preset, preset:measures, positions, or a TOML file."),
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(metavar="DEG|auto", help="Of the voice: azimuth, azimuth,elevation, or auto (listen first)."),
    ] = None,
    beamformer: Annotated[
        str | None, typer.Option(metavar="NAME", help="One channel of several: mvdr, gev, superdirective ...")
    ] = None,
    dereverb: Annotated[
        str | None, typer.Option(metavar="NAME", help="Before it, on all channels: wpe, wpe-batch or late-reverb.")
    ] = None,
    loudness: Annotated[
        float | None, typer.Option(metavar="LUFS", help="Loudness of the result (EBU R128), e.g. -16 for podcasts.")
    ] = None,
    residual: Annotated[
        str | None, typer.Option(metavar="FILE|DIR", help="Also write what was removed; output + residual = input.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="EXT", help="Change the format, e.g. wav; default: as the input.")
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Write over the inputs.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip inputs whose output exists and is newer.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Files at a time.")] = 1,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Use what is there of files that were cut off.")
    ] = False,
    raw: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Samples without a header, in and out: s16le or f32le.")
    ] = None,
    rate: Annotated[int | None, typer.Option(metavar="HZ", help="Sample rate of --raw.")] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of --raw.")] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Keep results, and give them back for the same file and options.")
    ] = False,
    cache_at: Annotated[
        str | None,
        typer.Option("--cache-at", metavar="DIR|URL", help="Where (implies --cache): a folder, or redis://HOST:PORT."),
    ] = None,
    cache_mb: Annotated[
        int | None, typer.Option("--cache-mb", min=1, metavar="MB", help="Size limit of the cache; default 4096.")
    ] = None,
    cache_days: Annotated[
        float, typer.Option("--cache-days", metavar="DAYS", help="How long results are kept.")
    ] = 30.0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing unless something fails.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")] = False,
) -> None:
    """Clean recordings: same length, rate, channels and format, picture untouched.

    [bold]Examples[/bold]

    unmuffle enhance interview.mp4                        -> interview.enhanced.mp4

    unmuffle enhance talk.wav -o clean.wav --residual removed.wav

    unmuffle enhance recordings/ -o cleaned/ --jobs 2 --resume --cache

    unmuffle enhance desk.wav --array circle:4:0.05 --direction auto --beamformer mvdr --dereverb wpe

    ffmpeg -i in.mov -f wav - | unmuffle enhance - | ffplay -
    """
    from ..engine.plan import plan

    beams = _array_plan(array, direction, beamformer, dereverb, stereo)
    behind = beams is None or method != "auto" or config is not None or model is not None
    chosen, params = chosen_method(method, assignments or [], config, model) if behind else ("identity", {})
    before = None
    if beams is not None:
        before = _array_work(beams, chosen if behind else None, params, assignments if not behind else [])
        chosen, params = "identity", {}
    if raw is not None and rate is None:
        raise ParameterError("--raw needs --rate: samples without a header do not say it")
    if raw is None and (rate is not None or channels is not None):
        raise ParameterError("--rate and --channels describe --raw samples; other inputs say it themselves")
    work = plan(inputs, output, in_place=in_place, extension=to, residual=residual, raw=raw is not None)
    settings: dict[str, Any] = {
        "method": chosen,
        "strength_db": common.strength(strength),
        "repair": tuple(part.strip() for part in repair.split(",") if part.strip()),
        "stereo": stereo,
        "profile": None if profile is None else common.span_or_file(profile),
        "loudness_lufs": loudness,
        "in_place": in_place,
        "allow_truncated": allow_truncated,
        "raw_format": raw,
        "raw_rate": rate,
        "raw_channels": channels,
        **params,
    }
    if before is not None:
        settings["before"] = before
    _check(settings)
    if cache or cache_at is not None:
        settings["cache"] = {
            "location": cache_at,
            "limit_bytes": None if cache_mb is None else cache_mb * 1_000_000,
            "ttl_s": 86400.0 * cache_days,
        }
        _open_cache(settings["cache"])  # fail before the first file if it cannot be used
    to_pipe = any(job.output == "-" for job in work)
    if as_json and to_pipe:
        raise ParameterError("standard output cannot carry both the sound and --json; write the sound to a file")
    skipped = [job for job in work if resume and _done(job)]
    work = [job for job in work if job not in skipped]
    if dry_run:
        _show_plan(work, skipped, as_json)
        return
    screen = common.console(stderr=True)
    if len(work) == 1 and not skipped:
        _single(work[0], settings, screen, quiet=quiet or to_pipe, as_json=as_json)
        return
    failed = _several(work, skipped, settings, jobs, screen, quiet=quiet, as_json=as_json)
    if failed:
        raise typer.Exit(1)


def _array_plan(
    array: str | None, direction: str | None, beamformer: str | None, dereverb: str | None, stereo: str
) -> ArrayPlan | None:
    """The microphone array's part of the work, if it was asked for."""
    if array is direction is beamformer is dereverb is None:
        return None
    from ..engine.beams import ArrayPlan

    made = ArrayPlan(array or "", direction or "", beamformer or "", dereverb or "")
    if made.beam and stereo != "linked":
        raise ParameterError("--stereo takes channels apart that a beamformer needs together: leave it out")
    return made


def _array_work(
    beams: ArrayPlan, method: str | Enhancer | None, values: dict[str, Any], assignments: list[str] | None
) -> _ArrayWork:
    """The array's part with the method behind it; whatever is wrong with it is said before the first file."""
    from ..enhancers import params, registry

    behind = registry.load(method, **values) if isinstance(method, str) else method
    own: dict[str, Any] = {}
    if assignments:
        if not beams.beam:
            raise ParameterError("--set belongs to --method or --beamformer: name one")
        own = dict(params.parse(registry.kind(beams.beam), assignments, beams.beam))
    beams.enhancer((0.0, 0.0), behind, own)
    return _ArrayWork(beams, behind, own)


@dataclass(frozen=True)
class _ArrayWork:
    """An enhancer that depends on what is heard in the file, and what is wrong with the file's channels."""

    beams: ArrayPlan
    behind: Enhancer | None
    values: dict[str, Any]

    def enhancer(self, source: str) -> Enhancer:
        from ..engine.beams import heard_direction

        found = heard_direction(source, self.beams.geometry) if self.beams.automatic else None
        return self.beams.enhancer(found, self.behind, self.values)

    def notes(self, source: str) -> list[str]:
        from ..engine.beams import faults

        return faults(source, self.beams.geometry if self.beams.array else None)


def chosen_method(
    name: str, assignments: list[str], config: str | None, model: str | None
) -> tuple[str | Enhancer, dict[str, Any]]:
    """The method and its parameters from --method, --set, --config and --model."""
    from ..enhancers import params, registry
    from ..enhancers.compose import Chain

    if model is not None:
        if assignments or config is not None or name != "auto":
            raise ParameterError("--model names a network that has no parameters: leave out --method, --set, --config")
        return registry.load(registry.MODEL, path=model), {}
    if config is not None:
        if assignments or name != "auto":
            raise ParameterError("--config names method and parameters itself: leave out --method and --set")
        try:
            with open(config, encoding="utf-8") as file:
                return registry.from_toml(file.read()), {}
        except (OSError, UnicodeDecodeError) as error:
            raise ParameterError(f"the configuration {config!r} cannot be read: {error}") from None
    if "+" in name:
        if assignments:
            raise ParameterError("--set belongs to one method; use --config for a chain with parameters")
        return Chain(tuple(registry.load(part.strip()) for part in name.split("+"))), {}
    return name, dict(params.parse(registry.kind(name), assignments, name))


def _check(settings: dict[str, Any]) -> None:
    """Fail before the first file is touched if the settings cannot be right for any."""
    from ..engine.options import Options

    keys = ("method", "strength_db", "repair", "stereo", "loudness_lufs")
    known = {k: settings[k] for k in keys}
    rest = {k: v for k, v in settings.items() if k not in (*keys, "profile") and not _is_file_option(k)}
    Options(**known, params=rest).enhancer(2 if settings["stereo"] == "mid-side" else 1)


def _is_file_option(key: str) -> bool:
    return key in ("in_place", "allow_truncated", "raw_format", "raw_rate", "raw_channels", "before")


def _done(job: Job) -> bool:
    import os

    try:
        return os.path.getmtime(job.output) >= os.path.getmtime(job.source) and job.output != job.source
    except OSError:
        return False


def _run(job: Job, settings: dict[str, Any], progress: Any = None) -> Report:
    """One job (also in another process)."""
    import os

    from ..errors import OutputError

    for name in (job.output, job.residual):
        folder = os.path.dirname(name or "")
        if folder and name != "-":
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise OutputError(f"the folder {folder!r} cannot be made: {error.strerror}") from None
    settings = dict(settings)
    before: _ArrayWork | None = settings.pop("before", None)
    if before is not None:
        settings["method"] = before.enhancer(job.source)
        report = _through(job, settings, progress)
        report.notes.extend(before.notes(job.source))
        return report
    return _through(job, settings, progress)


def _through(job: Job, settings: dict[str, Any], progress: Any) -> Report:
    """The file itself, or what the cache has of it."""
    from ..engine.files import enhance_file

    place = settings.pop("cache", None)
    if place is not None and job.residual is None:
        from ..cache import enhance_file as through

        report, state = through(_open_cache(place), job.source, job.output, progress=progress, **settings)
        if state == "hit":
            report.notes.append("taken from the cache")
        return report
    return enhance_file(job.source, job.output, residual=job.residual, progress=progress, **settings)


def _open_cache(place: dict[str, Any]) -> Any:
    from ..cache import open_cache

    return open_cache(**place)


def _show_plan(work: list[Job], skipped: list[Job], as_json: bool) -> None:
    if as_json:
        common.emit_json({"planned": [asdict(j) for j in work], "skipped": [asdict(j) for j in skipped]})
        return
    screen = common.console()
    for job in work:
        screen.print(f"{job.source} -> {job.output}", markup=False)
    for job in skipped:
        screen.print(f"{job.source}: done already", markup=False)


def _describe(report: Report) -> str:
    speed = 1 / report.real_time_factor if report.elapsed_s and not math.isnan(report.real_time_factor) else math.inf
    return f"{report.source} -> {report.output}  ({report.seconds:.1f} s, {speed:.0f}x real time)"


def _as_dict(report: Report) -> dict[str, Any]:
    return {**asdict(report), "real_time_factor": report.real_time_factor}


def _tell(report: Report, screen: Any) -> None:
    for note in report.notes:
        screen.print(f"note: {report.output}: {note}", markup=False)
    if report.clipped:
        screen.print(
            f"note: {report.output}: {report.clipped} samples beyond full scale were limited; "
            "use --loudness, or a float format",
            markup=False,
        )


def _single(job: Job, settings: dict[str, Any], screen: Any, *, quiet: bool, as_json: bool) -> None:
    with common.progress_bar(job.source, quiet) as update:
        report = _run(job, settings, update)
    if as_json:
        common.emit_json(_as_dict(report))
    elif not quiet:
        screen.print(_describe(report), markup=False)
    if not quiet:
        _tell(report, screen)


def _several(
    work: list[Job],
    skipped: list[Job],
    settings: dict[str, Any],
    jobs: int,
    screen: Any,
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run many jobs; one that fails does not stop the others. Returns how many failed."""
    results: list[dict[str, Any]] = [{"source": j.source, "output": j.output, "skipped": True} for j in skipped]
    failed = 0
    with common.progress_bar("files", quiet) as update:
        for done, (job, outcome) in enumerate(_outcomes(work, settings, jobs), 1):
            update(float(done), float(len(work)))
            if isinstance(outcome, UnmuffleError):
                failed += 1
                code = common.exit_code(outcome)
                results.append({"source": job.source, "error": str(outcome), "exit_code": code})
                screen.print(f"failed: {job.source}: {outcome}", markup=False)
                continue
            results.append(_as_dict(outcome))
            if not quiet:
                if not as_json:
                    screen.print(_describe(outcome), markup=False)
                _tell(outcome, screen)
    if as_json:
        common.emit_json({"results": results, "failed": failed})
    elif not quiet or failed:
        screen.print(f"{len(work) - failed} done, {failed} failed, {len(skipped)} skipped")
    return failed


def _outcomes(work: list[Job], settings: dict[str, Any], jobs: int) -> Any:
    """Pairs of a job and its report or error, as they end."""
    if jobs == 1 or len(work) < 2:
        for job in work:
            try:
                yield job, _run(job, settings, lambda done, total: stopping.check())
            except UnmuffleError as error:
                yield job, error
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Fresh processes: forking one that holds threads of numpy or onnxruntime can hang.
    with ProcessPoolExecutor(min(jobs, len(work)), mp_context=get_context("spawn")) as pool:
        futures: dict[Future[Report], Job] = {pool.submit(_run, job, settings): job for job in work}
        try:
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except UnmuffleError as error:
                    yield futures[future], error
                except BrokenProcessPool:
                    lost = UnmuffleError("its process was killed (out of memory?); try fewer --jobs")
                    yield futures[future], lost
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
