"""A job's family: its steps that have begun jobs, these jobs, and theirs."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text
from rich.tree import Tree

from longrun.cli_text import cleaned, shortened, status_text
from longrun.client import Client
from longrun.durable import Child, ChildPage, ChildStep
from longrun.errors import NotFound
from longrun.models import Job, JobError, Status

#: Of a step with more children than these, the completed ones are left out.
FEW = 20
#: Longest error that is shown of a job, in characters.
ERROR = 120


@dataclass(frozen=True)
class Branch:
    """A step's children; the completed ones that are left out are only counted."""

    step: str
    task: str
    size: int
    ended: int
    failed: int
    left_out: int
    children: tuple["Node", ...]


@dataclass(frozen=True)
class Node:
    """A job; `number` is its place among its step's children. `status` is `None` if it was forgotten."""

    id: str
    task: str
    status: str | None
    error: JobError | None
    number: int | None
    steps: tuple[Branch, ...]


@dataclass(frozen=True)
class Asking:
    """What is asked of the service: how many generations of children, and whether all of a big family."""

    client: Client
    depth: int | None
    every: bool

    def family(self, job: Job) -> Node:
        """The job with its descendants."""
        steps = self._branches(job.id, 1) if job.has_children else ()
        return Node(job.id, job.task, job.status, job.error, None, steps)

    def _branches(self, job_id: str, generation: int) -> tuple[Branch, ...]:
        if self.depth is not None and generation > self.depth:
            return ()
        steps: dict[str, ChildStep] = {}
        shown: dict[str, list[Node]] = {}
        for page in self._pages(job_id):
            steps |= {step.step: step for step in page.steps}
            for child in page.children:
                if self._is_shown(steps[child.step], child):
                    below = self._branches(child.id, generation + 1) if child.has_children else ()
                    node = Node(child.id, child.task, child.status, child.error, child.number, below)
                    shown.setdefault(child.step, []).append(node)
        return tuple(self._branch(step, tuple(shown.get(step.step, ()))) for step in steps.values())

    def _pages(self, job_id: str) -> Iterator[ChildPage]:
        """All that have something to show: a family of which all have completed is done with at once."""
        cursor: int | str | None = None
        while True:
            try:
                page = self.client.list_children(job_id, limit=100, cursor=cursor)
            except NotFound:  # it was forgotten in between
                return
            yield page
            cursor = page.next_cursor
            if not cursor or not any(self._is_whole(step) or _is_troubled(step) for step in page.steps):
                return

    def _branch(self, step: ChildStep, children: tuple[Node, ...]) -> Branch:
        left_out = 0 if self._is_whole(step) else max(0, step.ended - step.failed)
        return Branch(step.step, step.task, step.size, step.ended, step.failed, left_out, children)

    def _is_whole(self, step: ChildStep) -> bool:
        return self.every or step.size <= FEW

    def _is_shown(self, step: ChildStep, child: Child) -> bool:
        return self._is_whole(step) or child.status not in (None, Status.COMPLETED)


def _is_troubled(step: ChildStep) -> bool:
    return step.failed > 0 or step.ended < step.size


def drawn(node: Node) -> Tree:
    """The family as it is shown."""
    return _grown(Tree(_label(node), guide_style="dim"), node)


def _grown(tree: Tree, node: Node) -> Tree:
    for step in node.steps:
        branch = tree.add(_counts(step))
        for child in step.children:
            _grown(branch.add(_label(child)), child)
        if step.left_out:
            branch.add(Text(f"… {step.left_out:,} more have completed; --all shows them", "dim"))
    return tree


def _label(node: Node) -> Text:
    number = "" if node.number is None else f"{node.number}  "
    label = Text.assemble((number, "dim"), cleaned(node.task), "  ", status_text(node.status or "forgotten"))
    label.append(f"  {cleaned(node.id)}", "dim")
    if node.error:
        label.append("  " + cleaned(shortened(f"{node.error.type}: {node.error.message}", ERROR)), "red")
    return label


def _counts(step: Branch) -> Text:
    label = Text.assemble((cleaned(step.step), "bold"), f"  {step.ended:,} of {step.size:,} ended")
    if step.failed:
        label.append(f", {step.failed:,} not well", "red")
    return label
