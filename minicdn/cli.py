"""The command line: what is typed becomes Settings, a role, an app and a server; what goes wrong becomes one line and an exit code.

Only click is imported at the top. The server and what it needs are imported inside the commands, so that --help, --version
and a misspelt option answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from minicdn import __version__
from minicdn.config import CONFIG_ENV, DEFAULT_FILE, find_file, read_file, resolve
from minicdn.console import DEBUG_ENV, Console, is_debug, set_up_logging, to_line
from minicdn.errors import COLD_EXIT_CODE, OperatorError, UsageError
from minicdn.options import SWITCH, Option, options_of

if TYPE_CHECKING:
    from socket import socket
    from ssl import SSLContext

    from minicdn.closing import Closing
    from minicdn.settings import Settings
    from minicdn.workers import Place

UNEXPECTED_EXIT_CODE = 70
"""A mistake in this program, as sysexits.h numbers it."""


def main(closing: Closing) -> NoReturn:
    """`closing` has taken the signals over already, where the command is one that starts a node."""
    code = run(sys.argv[1:], closing)
    if code == COLD_EXIT_CODE:
        os._exit(code)  # nothing that hangs may keep it: neither threads nor exit handlers
    sys.exit(code)


def run(args: Sequence[str], closing: Closing) -> int:
    """The exit code; one line on standard error if it is not 0."""
    try:
        return cli.main(args=list(args), prog_name="minicdn", standalone_mode=False, obj=closing) or 0
    except click.ClickException as error:
        return _fail(_usage_line(error), UsageError.exit_code)
    except OperatorError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("stopped", COLD_EXIT_CODE)
    except BrokenPipeError:  # --help into a pipe that was closed
        return 0
    except Exception as error:
        if is_debug():
            traceback.print_exc()
        hint = f"please report it, with the output of {DEBUG_ENV}=1"
        return _fail(f"a mistake in minicdn itself: {type(error).__name__}: {error} ({hint})", UNEXPECTED_EXIT_CODE)


def _fail(text: str, code: int) -> int:
    Console(sys.stderr).say(f"minicdn: {to_line(text)}")
    return code


def _usage_line(error: click.ClickException) -> str:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return "say what to start: 'minicdn manager --upstream URL' or 'minicdn peer --manager URL'; see minicdn --help"
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{error.format_message().rstrip('.')} (see {context.command_path if context else 'minicdn'} --help)"


class _GroupedHelp(click.Command):
    """Thirty options read better under five headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record:
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class _TableOption(click.Option):
    """A flag of options.py's table. The text goes to config.py as it is, which knows all three places it may come from."""

    def __init__(self, option: Option, role: str) -> None:
        default = option.default_text(role)
        notes = ", ".join(note for note in (f"default {default}" if default else "", option.env) if note)
        is_switch = option.kind is SWITCH
        kind: dict[str, Any] = {"is_flag": True} if is_switch else {"type": str, "metavar": option.kind.metavar}
        super().__init__([option.flags], default=None, help=f"{option.help} [{notes}]", **kind)
        self.group = option.group
        self.option_name = option.name


def _with_options(role: str) -> Callable[[click.Command], click.Command]:
    def add(command: click.Command) -> click.Command:
        command.params[:0] = [_TableOption(option, role) for option in options_of(role)]
        return command

    return add


_config_option = click.option("--config", metavar="FILE", help=f"Options in a file. [default {DEFAULT_FILE} if there, {CONFIG_ENV}]")
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


@click.group(context_settings=_SETTINGS, epilog=f"{DEBUG_ENV}=1 shows tracebacks.")
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """A private pull CDN: one command beside the server, one on each colleague's machine."""


@_with_options("manager")
@cli.command(cls=_GroupedHelp)
@_config_option
@click.pass_context
def manager(ctx: click.Context, config: str | None, **_flags: Any) -> int:
    """Serve a site, and send its clients to the peers that help."""
    return _run_role("manager", config, _given_flags(ctx), ctx.obj)


@_with_options("peer")
@cli.command(cls=_GroupedHelp)
@_config_option
@click.pass_context
def peer(ctx: click.Context, config: str | None, **_flags: Any) -> int:
    """Help a manager: keep its site's files here and serve them."""
    return _run_role("peer", config, _given_flags(ctx), ctx.obj)


@cli.command()
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known, as JSON.")
@click.option("--token-file", metavar="FILE", help="The cluster's token, where it has one. [or MINICDN_TOKEN_FILE, MINICDN_TOKEN]")
@click.option("--fingerprint", metavar="SHA256", help="The certificate of the node in the URL, where no authority vouches for it.")
def explain(url: str, as_json: bool, token_file: str | None, fingerprint: str | None) -> int:
    """Say what would be done with a URL now, and why: stored? fresh until when? decided by what? owned by whom?"""
    from minicdn.config import pin_of, token_of
    from minicdn.explain import explain as explain_url

    token = token_of(token_file, os.environ)
    Console(sys.stdout).say(explain_url(url, as_json=as_json, token=token, pin=pin_of(fingerprint)))
    return 0


@cli.command()
@click.option("--out", metavar="DIR", default=".", help="The folder to write to. [default the current one]")
@click.option("--name", metavar="NAME", default="node", help="Of the files: NAME.pem and NAME-key.pem. [default node]")
@click.option(
    "--host", "hosts", metavar="HOST", multiple=True, help="The node's name or address; may be given again. [default this machine's]"
)
def cert(out: str, name: str, hosts: tuple[str, ...]) -> int:
    """Make a private authority, once for a folder, and a certificate by it for a node's --tls-cert and --tls-key."""
    try:
        from minicdn.certificates import make
    except ImportError:
        advice = "pip install 'minicdn[cert]'; docs/security.md says how openssl does the same"
        raise OperatorError(f"minicdn cert needs the package cryptography: {advice}") from None
    Console(sys.stdout).say(make(Path(out).expanduser(), name, hosts))
    return 0


@cli.command()
@click.argument("what", metavar="URL_OR_PATH")
@click.option("-o", "--output", metavar="FILE", help="Also a folder, or - for standard output. [default the URL's last name]")
@click.option("--sha256", metavar="HEX", help="What the file's digest must be. [default what the server says, if it does]")
@click.option("--manager", metavar="URL", help="Take it from this manager's peers, from all at once where it is large.")
@click.option("--peer", "peers", metavar="URL", multiple=True, help="Take it from this peer, too; may be given again.")
@click.option("--fingerprint", metavar="SHA256", help="The manager's certificate, as its start printed it; without --manager, the node's.")
@click.option("--timeout", metavar="TIME", help="For the whole download, such as 90s or 2h. [default none]")
@click.option("--json", "as_json", is_flag=True, help="At the end a report as JSON on standard output (with -o -: standard error).")
def get(what: str, fingerprint: str | None, **given: Any) -> int:
    """Download a file: from all peers at once, resumed after an interruption, its digest checked. Any HTTP server will do, too."""
    from minicdn.config import pin_of
    from minicdn.getting import get as get_file

    return get_file(what, pin=pin_of(fingerprint), **given)


@cli.command()
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--url-file", metavar="FILE", help="More URLs, one a line, - for standard input; /paths are the first URL's server's.")
@click.option("--duration", metavar="TIME", help="How long. [default 10s, or what --count takes]")
@click.option("--count", metavar="N", help="How many requests, at most.")
@click.option("--connections", metavar="N", help="How many requests at a time, each client with its own connection. [default 16]")
@click.option("--range", "range_", metavar="RANGE", help="Ask for a part: 0-1023, 1000- or -500.")
@click.option("--header", "headers", metavar="FIELD", multiple=True, help="'Name: value' in each request; may be given again.")
@click.option("--timeout", metavar="TIME", help="The longest silence of an answer. [default 30s]")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def bench(urls: tuple[str, ...], **given: Any) -> int:
    """Put load on a node, or on any HTTP server: requests per second, latencies, and where the bytes came from."""
    from minicdn.benching import bench as run_bench

    return run_bench(urls, **given)


@cli.command()
@click.argument("urls", metavar="URL_OR_PATH...", nargs=-1)
@click.option("--manager", metavar="URL", required=True, help="Whose peers are to have the files: with its token, or from its machine.")
@click.option("--url-file", metavar="FILE", help="More URLs or /paths, one a line, - for standard input.")
@click.option("--copies", metavar="N", default="1", help="Peers that are to have each file: a number, 20% or all. [default 1, its owner]")
@click.option("--header", "headers", metavar="FIELD", multiple=True, help="'Name: value' in each request; may be given again.")
@click.option("--timeout", metavar="TIME", help="For all of it; what is not there by then is given up. [default none]")
@click.option("--wait/--no-wait", "waits", default=True, help="Wait for the end, or only have it begin. [default wait]")
@click.option("--json", "as_json", is_flag=True, help="The state of each node and each failure, as JSON.")
@click.option("--token-file", metavar="FILE", help="The cluster's token, where it has one. [or MINICDN_TOKEN_FILE, MINICDN_TOKEN]")
@click.option("--fingerprint", metavar="SHA256", help="The manager's certificate, where no authority vouches for it.")
def preheat(urls: tuple[str, ...], token_file: str | None, fingerprint: str | None, **given: Any) -> int:
    """Have files in the cluster before the crowd comes: each at its owner, at more peers, or at all."""
    from minicdn.config import pin_of, token_of
    from minicdn.preheating import preheat as run_preheat

    return run_preheat(urls, token=token_of(token_file, os.environ), pin=pin_of(fingerprint), **given)


@cli.command()
@click.option("--manager", metavar="URL", help="Look at this manager and its peers instead, as they are met from here.")
@click.option("--upstream", metavar="URL", help="Look at this site instead; with a file's path, at how that file could be served.")
@click.option("--config", metavar="FILE", help=f"The file of a node's options. [default {DEFAULT_FILE} if there, {CONFIG_ENV}]")
@click.option("--token-file", metavar="FILE", help="The cluster's token, where it has one. [or MINICDN_TOKEN_FILE, MINICDN_TOKEN]")
@click.option("--fingerprint", metavar="SHA256", help="The manager's certificate, as its start printed it.")
@click.option("--json", "as_json", is_flag=True, help="All findings as JSON.")
def doctor(**given: Any) -> int:
    """Look for what is in the way, and say what to do: on this machine, in a cluster, or at the upstream."""
    from minicdn.doctoring import doctor as look_around

    return look_around(default_folder=_default_cache_dir, **given)


def _given_flags(ctx: click.Context) -> dict[str, str | None]:
    given: dict[str, str | None] = {}
    for parameter in ctx.command.params:
        if isinstance(parameter, _TableOption):
            value = ctx.params[str(parameter.name)]
            given[parameter.option_name] = ("on" if value else "off") if isinstance(value, bool) else value
    return given


def _run_role(role_name: str, config: str | None, flags: dict[str, str | None], closing: Closing) -> int:
    from minicdn.listener import open_listener, raise_file_limit
    from minicdn.workers import count_workers, worker_place

    path = find_file(config, os.environ, Path.cwd())
    resolved = resolve(role_name, flags, os.environ, read_file(path) if path else {})
    settings = resolved.settings
    set_up_logging(debug=is_debug())
    raise_file_limit()
    may_take_next = role_name == "peer" and "port" not in resolved.given
    if role_name == "peer":
        place, count = worker_place(), count_workers(settings.workers_count)
        if place is not None:
            return _serve_part(settings, place, closing)
        if count > 1:
            return _supervise(settings, count, closing, may_take_next=may_take_next)
    listens_since = time.time()
    listener = open_listener(settings.host, settings.port, may_take_next=may_take_next)
    port = listener.getsockname()[1]
    settings = replace(settings, port=port, cache_dir=settings.cache_dir or _default_cache_dir(role_name, port))
    return _serve(settings, [listener], closing, listens_since)


def _supervise(settings: Settings, count: int, closing: Closing, *, may_take_next: bool) -> int:
    from minicdn.announce import start_lines
    from minicdn.loops import settle_collector
    from minicdn.supervisor import supervise
    from minicdn.workers import open_sockets

    sockets = open_sockets(settings, count, may_take_next=may_take_next)
    port = sockets[0][1].getsockname()[1]
    settings = replace(settings, port=port, cache_dir=settings.cache_dir or _default_cache_dir("peer", port))
    console = Console(sys.stdout)
    ports = ", ".join(str(own.getsockname()[1]) for own, _ in sockets)
    *lines, last = start_lines(settings)
    lines += [f"  workers  {count}, each a peer of its own: ports {ports}", last]
    settle_collector()
    return supervise(sockets, closing, console, lambda: console.say("\n".join(lines)), logging.getLogger("minicdn").warning)


def _serve_part(settings: Settings, place: Place, closing: Closing) -> int:
    """As one of several workers. What all of them would say, the supervisor says."""
    from minicdn.workers import watch_supervisor, worker_settings

    watch_supervisor(place.tie, closing)
    cache_dir = settings.cache_dir or _default_cache_dir("peer", place.sockets[1].getsockname()[1])
    return _serve(worker_settings(replace(settings, cache_dir=cache_dir), place), place.sockets, closing, time.time(), place)


def _default_cache_dir(role_name: str, port: int) -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("minicdn", appauthor=False) / f"{role_name}-{port}"


def _serve(settings: Settings, listeners: Sequence[socket], closing: Closing, listens_since: float, place: Place | None = None) -> int:
    """listeners: the first one's port is the node's own. place: among workers."""
    from minicdn.announce import start_lines
    from minicdn.core.shedding import places_of
    from minicdn.listener import file_limit
    from minicdn.roles.manager import Manager
    from minicdn.roles.peer import Peer
    from minicdn.server import serve
    from minicdn.web.app import build_app
    from minicdn.web.protocol import protocol_class

    tls = _tls_context(settings)
    others_count = settings.upstream_connections_max + settings.peer_connections_max
    settings = replace(settings, connections_max=places_of(settings.connections_max, file_limit(), others_count))
    stream = sys.stderr if settings.log == "-" else sys.stdout
    console = Console(stream if place is None else open(os.devnull, "w"))  # noqa: SIM115  (open as long as the process lives)

    def announce() -> None:
        if place is not None:
            place.tell_ready()
        else:
            console.say("\n".join(start_lines(settings)))

    say = logging.getLogger("minicdn").info
    role = Manager(settings, say=say) if settings.role == "manager" else Peer(settings, say=say)
    return serve(
        role, build_app(role, listens_since=listens_since), protocol_class(), listeners,
        closing=closing, console=console, announce=announce,
        leaves_a_list=settings.role == "peer", drain_seconds=settings.drain_seconds, tls=tls,
    )  # fmt: skip


def _tls_context(settings: Settings) -> SSLContext | None:
    from minicdn.wire.tls import listening

    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return listening(settings.tls_cert, settings.tls_key)
    except (OSError, ValueError) as error:
        text = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        if "PEM lib" in text:  # all that OpenSSL says of a file that holds something else
            text = "the one is no certificate in PEM, or the other no key"
        raise UsageError(f"--tls-cert {settings.tls_cert}, --tls-key {settings.tls_key}: {text.replace('_', ' ').lower()}") from None
