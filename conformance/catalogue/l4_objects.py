"""L4: object detection, the maps of an R-FCN and what makes boxes of them."""

import numpy as np

from conformance.catalogue._families import family, network
from conformance.questions.case import Call, Problem, Question, Register, Setting
from conformance.questions.data import normal
from conformance.questions.judges import Bits, Within
from tsm_ref import reference
from tsm_ref.reference.bounded import SIGMAS, Bounded
from tsm_ref.reference.bounds import FUNCTION
from tsm_ref.reference.rounding import accumulation_bound

STRIDE = 16


@family(
    "rfcn.maps",
    "rfcn",
    formula="maps = conv1x1(relu(conv(blocks(stem(x)))))",
    defect="the last stage strides where it is dilated, or the maps stand in another order",
)
def rfcn(s: Setting) -> Problem:
    """The four maps of an R-FCN, one behind the other, of odd sizes."""
    attributes = {
        "block": "basic",
        "blocks": [1, 1, 1, 1],
        "width": 8,
        "placement": "blockres",
        "proposal": 6,
        "reduced": 6,
        "bins": 2,
        "classes": 2,
    }
    return network(s, "rfcn", (1, 4, 70, 90), attributes)


def boxes_case(id: str, operation: str, formula: str, defect: str) -> Register:
    """A case about boxes."""
    return family(f"rfcn.{id}", "rfcn", operation=operation, formula=formula, defect=defect)


@boxes_case(
    "position-sensitive-pool",
    "ps_roi_pool",
    "r_c(i, j) = mean of map (c, i, j) over bin (i, j) of the box",
    "rows and columns of bins are exchanged, or their edges rounded otherwise",
)
def pool(s: Setting) -> Problem:
    """Bins whose edges lie between places, beyond the map, and in less than one place."""
    bins, height, width = 3, 11, 14
    maps = normal(s.rng, (2 * bins**2, height, width)) + 1
    boxes = np.array(
        [
            [15.6, 31.7, 112.3, 160.2],
            [5.5, 3.25, 77.5, 101.75],
            [100.4, 60.6, 300, 200],
            [-40, -30, 50, 41],
            [33, 47, 36, 49],
        ],
        np.float32,
    )
    value = reference.ps_roi_pool(maps.astype(np.float64), boxes, bins, STRIDE)
    size = reference.ps_roi_pool(np.abs(maps).astype(np.float64), boxes, bins, STRIDE)
    bound = accumulation_bound(height * width, s.u, size, value)
    judge = Within(Bounded(value, (bound / SIGMAS) ** 2))
    judge.guard(s.u)
    attributes = {"bins": bins, "stride": STRIDE}
    call = Call("ps_roi_pool", {"maps": maps, "boxes": boxes}, attributes)
    return Problem((Question(call, judge),))


@boxes_case(
    "suppression",
    "nms",
    "drop every box whose overlap with a better one that is kept is above the threshold",
    "overlaps of exactly the threshold are dropped, dropped boxes drop others, or scores rise",
)
def suppression(s: Setting) -> Problem:
    """Overlaps at the threshold and beside it, equal scores, and boxes that drop one another."""
    boxes = np.array(
        [
            [0, 0, 10, 20],
            [0, 0, 10, 10],  # half of the first: exactly at the threshold
            [40, 0, 50, 10],
            [43, 0, 53, 10],  # 7 / 13 of the one before
            [46, 0, 56, 10],  # 7 / 13 of the one before, 4 / 16 of that before it
            [80, 80, 90, 90],
            [80, 80, 90, 91],  # of the same score
            [0, 60, 30, 70],
        ],
        np.float32,
    )
    scores = np.array([0.7, 0.6, 0.5, 0.45, 0.4, 0.3, 0.3, 0.9], np.float32)
    order = s.rng.permutation(5)  # the pair of equal scores keeps its order
    boxes = np.concatenate([boxes[:5][order], boxes[5:]])
    scores = np.concatenate([scores[:5][order], scores[5:]])
    questions = []
    for most in (len(boxes), 3):
        expected = reference.nms(boxes, scores, 0.5, most)
        call = Call(
            "nms",
            {"boxes": boxes, "scores": scores},
            {"threshold": 0.5, "most": most},
            {"most": len(boxes)},
        )
        questions.append(Question(call, Bits(expected)))
    return Problem(tuple(questions))


@boxes_case(
    "offsets",
    "decode_boxes",
    "x' = x + tx w, w' = w exp(tw) about the middles",
    "offsets move a corner instead of the middle, or grow without a limit",
)
def offsets(s: Setting) -> Problem:
    """Boxes moved and scaled, one of them beyond the limit of log(1000 / 16)."""
    corner, size = s.rng.uniform(300, 400, (6, 2)), s.rng.uniform(5, 90, (6, 2))
    size[-1] = 8
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    moves = normal(s.rng, (6, 4), 0.4)
    moves[-1, 2] = 5.0
    value = reference.decode_boxes(boxes.astype(np.float64), moves.astype(np.float64))
    span = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    half = span * np.exp(np.minimum(moves[:, 2:], reference.detection.LARGEST_OFFSET))
    reach = np.abs(boxes[:, :2]) + np.abs(boxes[:, 2:]) + span * (1 + np.abs(moves[:, :2])) + half
    # Of the exponential a rounding for each unit of its argument, and a few sums and products.
    bound = (FUNCTION + 12) * s.u * np.concatenate([reach, reach], 1)
    judge = Within(Bounded(value, (bound / SIGMAS) ** 2))
    judge.guard(s.u)
    call = Call("decode_boxes", {"boxes": boxes, "offsets": moves})
    return Problem((Question(call, judge),))
