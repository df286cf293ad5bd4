"""Plays a row on a set-up: asks as its clients, answers as its upstream, moves its time, and compares."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from minicdn.core.dates import format_http_date
from minicdn.node.patience import MAX_SECONDS
from tests.conformance.kit_origin import Scene
from tests.conformance.kit_rows import Ask, Down, Later, Row, Sees, Up
from tests.conformance.kit_stage import Served, Stage
from tests.conformance.kit_wire import Message, Wire, is_like

TEXT = re.compile(r"<(850:|asctime:)?(now|t0)([+-][0-9]+)?>|<(path|node|name|owner|upstream)>")


class Play:
    """One row on one set-up."""

    def __init__(self, stage: Stage, row: Row, set_up: str) -> None:
        self._stage, self._row, self._set_up = stage, row, set_up
        self._began_at = stage.time.at
        targets = [step.target for step in row.steps if isinstance(step, Ask)]
        self.path = stage.path(set_up, row.id, targets, row.policy.get("ignored_query", ()))
        self._served = stage.client_side(set_up)
        self._scene = Scene(self._fill_in, stage.time.move)

    def run(self) -> None:
        stage = self._stage
        name = self.path.removeprefix("/c/").encode()
        stage.apply_policy(self._set_up, dict(self._row.policy))
        stage.origin.scenes[name] = self._scene
        stage.mistakes.found.clear()
        try:
            for number, step in enumerate(self._row.steps, 1):
                self._take(step, f"{self._row.id}, step {number}")
            assert not stage.mistakes.found, f"{self._row.id}: a node's program failed: {stage.mistakes.found}"
        finally:
            del stage.origin.scenes[name]
            if any(isinstance(step, Down) for step in self._row.steps):
                stage.run(stage.origin.stop())
                stage.run(stage.origin.start())
                stage.time.move(MAX_SECONDS)  # the nodes may leave it alone for so long
            stage.apply_policy(self._set_up, {})

    def _take(self, step: Any, where: str) -> None:
        match step:
            case Later():
                self._stage.time.move(step.seconds)
            case Down():
                self._stage.run(self._stage.origin.stop() if step.is_down else self._stage.origin.start())
            case Ask():
                self._ask(step, where)

    def _ask(self, step: Ask, where: str) -> None:
        stage, scene = self._stage, self._scene
        self._served = stage.other_side(self._set_up) if step.at == "other" else stage.client_side(self._set_up)
        scene.answers, scene.asked = list(step.up), []
        scene.released.clear()
        scene.hangs_up = False
        joins = stage.joins(self._set_up)
        answers = self._converse(step, joins, where)
        # A refresh behind the answer is a fill that began before the answer left.
        stage.settle(self._set_up)
        left = len(scene.answers)
        assert not left, f"{where}: the upstream must be asked {left} more time(s); the client saw\n{show(answers[0])}"
        asked = [message.start.decode("latin-1") for message in scene.unexpected]
        assert not asked, f"{where}: the upstream was asked, and must not be: {asked}\n{scene.unexpected[0].fields}"
        for spec, message in zip(step.up, scene.asked, strict=True):
            self._check_asked(step, spec, message, where)
        for answer in answers:
            self._check_seen(step, answer, where)

    def _converse(self, step: Ask, joins: int, where: str) -> list[Message]:
        stage, scene = self._stage, self._scene
        nodes = [self._served]
        if step.at == "both":
            nodes = [stage.client_side(self._set_up), stage.other_side(self._set_up)]
        wires = [Wire(nodes[number % len(nodes)].address) for number in range(step.many)]
        try:
            for wire in wires:
                wire.send(self._request(step))
            if step.many > 1 and any(spec.hold is not None for spec in step.up):
                wanted = joins + (step.many - 1 if step.joins is None else step.joins)
                stage.run(stage.wait_until(lambda: stage.joins(self._set_up) >= wanted, f"{where}: others join the fill"))
                stage.tell(scene.released.set)
            return [wire.read(step.method) for wire in wires]
        finally:
            stage.tell(scene.released.set)
            for wire in wires:
                wire.close()

    def _request(self, step: Ask) -> bytes:
        target = self._fill_in(step.target.replace("@", self.path, 1))
        lines = [f"{step.method} {target} HTTP/{step.version}"]
        lines += [] if any(line.lower().startswith(("host:", "-host")) for line in step.lines) else ["Host: <node>"]
        lines += [line for line in step.lines if line.lower() != "-host"]
        content = step.body
        if content is not None and b"<path>" in content:
            content = content.replace(b"<path>", self.path.encode())
        if content is not None and step.is_chunked:
            lines.append("Transfer-Encoding: chunked")
            content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        elif content is not None:
            lines.append(f"Content-Length: {len(content)}")
        return self._fill_in("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (content or b"")

    # What must have been

    def _check_asked(self, step: Ask, spec: Up, message: Message, where: str) -> None:
        method, target, _ = message.start.decode("latin-1").split(" ")
        assert method == (spec.method or step.method), f"{where}: the upstream was asked with {method}"
        if spec.target is not None:
            assert target == self._fill_in(spec.target.replace("@", self.path, 1)), f"{where}: the upstream was asked for {target}"
        if spec.content is not None:
            assert message.body == spec.content, f"{where}: the upstream received {message.body[:200]!r}"
        for expected in spec.asked:
            filled = self._fill_in(expected)
            assert is_like(message, filled), f"{where}: the upstream must be asked with {filled!r}:\n{show(message)}"

    def _check_seen(self, step: Ask, answer: Message, where: str) -> None:
        wanted = step.sees or _same_as(step)
        statuses = wanted.status if isinstance(wanted.status, tuple) else (wanted.status,)
        assert answer.status in statuses, f"{where}: the client must see {wanted.status}:\n{show(answer)}"
        assert answer.is_whole != wanted.cut, f"{where}: the body must {'break off' if wanted.cut else 'be whole'}:\n{show(answer)}"
        if wanted.body is not None and not wanted.cut:
            body = self._fill_in(wanted.body.decode("latin-1")).encode("latin-1")
            assert answer.body == body, f"{where}: the client must see the body {body[:200]!r}:\n{show(answer)}"
        if wanted.pattern is not None:
            is_found = re.search(wanted.pattern, answer.body.decode("latin-1"), re.DOTALL)
            assert is_found, f"{where}: the body must match {wanted.pattern!r}:\n{answer.body[:2000]!r}"
        for expected in wanted.lines:
            filled = self._fill_in(expected)
            assert is_like(answer, filled), f"{where}: the client must see {filled!r}:\n{show(answer)}"
        if wanted.order:
            names = [name.decode("latin-1") for name, _ in answer.fields]
            found = [name for name in names if name in wanted.order]
            assert found == list(wanted.order), f"{where}: lines out of order: {found}"
        for expected in wanted.informed:
            filled = self._fill_in(expected)
            informed = Message(answer.start, answer.interim_fields)
            assert is_like(informed, filled), f"{where}: the client must be informed of {filled!r}:\n{show(informed)}"
        if wanted.interim is not None:
            assert tuple(answer.interim) == wanted.interim, f"{where}: interim answers {answer.interim}"

    def _fill_in(self, text: str) -> str:
        return TEXT.sub(self._meaning, text) if "<" in text else text

    def _meaning(self, match: re.Match[str]) -> str:
        form, anchor, shift, word = match.groups()
        if word is not None:
            return self._word(word)
        at = (self._stage.time.at if anchor == "now" else self._began_at) + int(shift or 0)
        moment = datetime.fromtimestamp(at, UTC)
        if form == "850:":
            return moment.strftime("%A, %d-%b-%y %H:%M:%S GMT")
        if form == "asctime:":
            return moment.strftime("%a %b ") + f"{moment.day:2d}" + moment.strftime(" %H:%M:%S %Y")
        return format_http_date(at).decode()

    def _word(self, word: str) -> str:
        served: Served = self._served
        host, port = served.address[:2]
        words = {
            "path": self.path,
            "node": f"{host}:{port}",
            "name": served.name,
            "owner": self._stage.owner(self._set_up).name,
            "upstream": f"127.0.0.1:{self._stage.origin.port}",
        }
        return words[word]


def _same_as(step: Ask) -> Sees:
    """What the client sees where the row does not say: the upstream's last answer."""
    last = step.up[-1] if step.up else Up()
    is_bodiless = step.method == "HEAD" or not step.up
    return Sees(status=last.status, body=None if is_bodiless else last.body, cut=last.cut is not None)


def show(message: Message) -> str:
    lines = [message.start, *(name + b": " + value for name, value in message.fields)]
    return b"\n".join(lines).decode("latin-1") + f"\n\n{message.body[:200]!r}"
