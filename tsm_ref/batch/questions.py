"""What a list of labelled clips asks of a model: one label, several labels, or one of each head."""

from collections.abc import Sequence
from typing import Any, Protocol

from tsm_ref.batch.lists import Clip
from tsm_ref.batch.recipe import Outcome
from tsm_ref.batch.scores import Scores, interval, scores, truth
from tsm_ref.batch.several import (
    HeadScores,
    LabelScores,
    head_scores,
    label_scores,
    lines_of_labels,
    truth_of_heads,
    truth_of_labels,
)
from tsm_ref.model import Model
from tsm_ref.model.meaning import classes_of, input_shapes
from tsm_ref.system.terminal import printable

__all__ = ["OneLabel", "Question", "SeveralHeads", "SeveralLabels"]

WORST = 5
"""The worst classes that are told."""


class Question(Protocol):
    """A question with its right answers; ``top`` are the classes that each clip has to tell.

    Making one raises `UsageError` for a list without the labels that it needs.
    """

    top: int
    names: list[str]

    def counted(self, found: Sequence[Outcome]) -> Any:
        """How often the outcomes are right."""

    def tree(self, made: Any) -> dict[str, Any]:
        """What the result file says of that."""

    def clip(self, outcome: Outcome) -> dict[str, Any]:
        """What the result file says of one clip."""

    def lines(self, made: Any) -> list[str]:
        """What people ask for first."""


class OneLabel:
    """The best class of each clip, and whether the right one is among the best five."""

    top = 5

    def __init__(self, model: Model, clips: Sequence[Clip]) -> None:
        self.classes = classes_of(model.graph, model.profile) or len(model.labels)
        self.true = truth(clips, model.labels, self.classes)
        self.names = [model.profile.label_of(k) for k in range(self.classes)]

    def counted(self, found: Sequence[Outcome]) -> Scores:
        """Who is taken for whom."""
        return scores(found, self.true, self.classes)

    def tree(self, made: Scores) -> dict[str, Any]:
        """Shares, classes, and who is taken for whom."""
        return tree_of_scores(made, self.names)

    def clip(self, outcome: Outcome) -> dict[str, Any]:
        """The right class, and the best ones."""
        label = self.true[outcome.path]
        if outcome.result is None:
            return {"path": _path(outcome), "label": label, "error": outcome.error}
        best = outcome.result["predictions"]
        return {
            "path": _path(outcome),
            "sha256": outcome.result["input"]["sha256"],
            "label": label,
            "predicted": [row["index"] for row in best],
            "probability": best[0]["probability"],
        }

    def lines(self, made: Scores) -> list[str]:
        """The shares, and the classes that go wrong."""
        low, high = interval(made.top1, made.count)
        lines = [
            f"top-1  {made.top1:7.2%}  of {made.count} clips (95 % interval {low:.2%} to "
            f"{high:.2%})",
            f"top-5  {made.top5:7.2%}",
            f"mean   {made.mean_recall:7.2%}  over the classes that have clips",
        ]
        recall, names = made.recall, self.names
        worst = sorted((k for k in range(len(names)) if recall[k] < 1), key=lambda k: recall[k])
        for k in worst[:WORST]:
            row = made.confusion[k].copy()
            row[k] = 0
            taken = f", most taken for {printable(names[int(row.argmax())])}"
            count = f"{made.confusion[k, k]} of {made.confusion[k].sum()}"
            lines.append(f"  {recall[k]:7.2%}  {count}  {printable(names[k])}{taken}")
        return lines


class SeveralLabels:
    """How well the labels of each clip are ranked: the average precision of each class."""

    def __init__(self, model: Model, clips: Sequence[Clip]) -> None:
        self.top = self.classes = classes_of(model.graph, model.profile) or len(model.labels)
        self.true = truth_of_labels(clips, model.labels, self.classes)
        self.names = [model.profile.label_of(k) for k in range(self.classes)]

    def counted(self, found: Sequence[Outcome]) -> LabelScores:
        """The probabilities of all classes beside the truth."""
        return label_scores(found, self.true, self.classes)

    def tree(self, made: LabelScores) -> dict[str, Any]:
        """Means, and each class."""
        return made.tree(self.names)

    def clip(self, outcome: Outcome) -> dict[str, Any]:
        """The right labels, and the probability of every class."""
        labels = list(self.true[outcome.path])
        if outcome.result is None:
            return {"path": _path(outcome), "labels": labels, "error": outcome.error}
        rows = sorted(outcome.result["predictions"], key=lambda row: row["index"])
        return {
            "path": _path(outcome),
            "sha256": outcome.result["input"]["sha256"],
            "labels": labels,
            "probabilities": [row["probability"] for row in rows],
        }

    def lines(self, made: LabelScores) -> list[str]:
        """The means, and the classes that are found worst."""
        return lines_of_labels(made, self.names, WORST)


class SeveralHeads:
    """The best class of each head, and whether all of them are right: a verb, a noun, an action."""

    top = 5

    def __init__(self, model: Model, clips: Sequence[Clip]) -> None:
        shapes = model.graph.shapes(input_shapes(model.graph, model.profile))
        self.classes = {head: int(shapes[head][1]) for head in model.graph.outputs}
        labels = {**dict.fromkeys(self.classes, ()), **dict(model.profile.heads)}
        heads = {head: (labels[head], count) for head, count in self.classes.items()}
        self.true = truth_of_heads(clips, heads)
        self.names = list(self.classes)
        self._labels = {
            head: [model.profile.label_of(k, head) for k in range(count)]
            for head, count in self.classes.items()
        }

    def counted(self, found: Sequence[Outcome]) -> HeadScores:
        """Each head, and all of them."""
        return head_scores(found, self.true, self.classes)

    def tree(self, made: HeadScores) -> dict[str, Any]:
        """Each head as one alone has it, and all of them."""
        return {
            "recognised": made.count,
            "failed": made.failed,
            "action": made.action,
            "action_interval": list(interval(made.action, made.count)),
            "heads": {
                head: tree_of_scores(each, self._labels[head]) for head, each in made.heads.items()
            },
        }

    def clip(self, outcome: Outcome) -> dict[str, Any]:
        """The right class of each head, and its best ones."""
        true = self.true[outcome.path]
        if outcome.result is None:
            return {"path": _path(outcome), "heads": true, "error": outcome.error}
        heads = outcome.result["heads"]
        return {
            "path": _path(outcome),
            "sha256": outcome.result["input"]["sha256"],
            "heads": {
                head: {
                    "label": k,
                    "predicted": [row["index"] for row in heads[head]["predictions"]],
                }
                for head, k in true.items()
            },
        }

    def lines(self, made: HeadScores) -> list[str]:
        """The shares of each head, and of clips where all are right."""
        low, high = interval(made.action, made.count)
        width = max(len(head) for head in [*self.names, "action"])
        return [
            *(
                f"{printable(head):{width}}  top-1 {each.top1:7.2%}  top-5 {each.top5:7.2%}"
                for head, each in made.heads.items()
            ),
            f"{'action':{width}}  top-1 {made.action:7.2%}  all heads right, of {made.count} clips "
            f"(95 % interval {low:.2%} to {high:.2%})",
        ]


def tree_of_scores(made: Scores, names: Sequence[str]) -> dict[str, Any]:
    """Shares, classes, and who is taken for whom, as plain values."""
    rows = made.confusion.sum(1)
    return {
        "recognised": made.count,
        "failed": made.failed,
        "top1": made.top1,
        "top1_interval": list(interval(made.top1, made.count)),
        "top5": made.top5,
        "mean_class_recall": made.mean_recall,
        "classes": [
            {"index": k, "label": name, "clips": int(rows[k]), "right": int(made.confusion[k, k])}
            for k, name in enumerate(names)
            if rows[k]
        ],
        "confusion": [
            {"true": int(i), "predicted": int(j), "clips": int(made.confusion[i, j])}
            for i, j in zip(*made.confusion.nonzero(), strict=True)
        ],
    }


def _path(outcome: Outcome) -> str:
    return outcome.path.encode("utf-8", "backslashreplace").decode()
