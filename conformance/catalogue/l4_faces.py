"""L4: the networks of faces, with few filters: MTTS-CAN, EfficientPhys, BigSmall."""

from conformance.catalogue._families import family, network
from conformance.catalogue._questions import composed
from conformance.catalogue.l3_networks import frames
from conformance.questions.case import Problem, Setting
from conformance.questions.data import draw_weights, normal, ts_can_shapes

NUMBERS = "numbers[n, head, t] = dense2_head(act(dense1_head(features[n, t])))"


@family(
    "mtts-can", "mtts_can", formula=NUMBERS, defect="the two heads change places, or share a layer"
)
def mtts_can(s: Setting) -> Problem:
    """MTTS-CAN: a TS-CAN with a head for the pulse and one for the respiration."""
    filters, hidden = (6, 9), 8
    shapes = ts_can_shapes(filters, hidden)
    second = {
        name.replace(".", "_respiration."): shape
        for name, shape in shapes.items()
        if name.startswith("dense")
    }
    attributes = {
        "architecture": "mtts_can",
        "heads": ["pulse", "respiration"],
        "filters": list(filters),
        "hidden": hidden,
        "fold_div": s.conventions.fold_div,
        "flatten": s.conventions.flatten,
    }
    more = {"appearance": normal(s.rng, (2, 3, 4, 36, 36))}
    weights = draw_weights(s.rng, shapes | second)
    x = frames(s, (2, 4, 36, 36))
    return Problem((composed(s, "network", x, weights, attributes, more=more),))


@family(
    "efficient-phys",
    "efficient_phys",
    formula=NUMBERS,
    defect="the mask is seen in the frames, or the differences are not normed",
)
def efficient_phys(s: Setting) -> Problem:
    """EfficientPhys: one branch of frame differences, which gates itself."""
    return network(s, "efficient_phys", (2, 5, 36, 36), {"filters": [6, 9], "hidden": 8})


@family(
    "big-small",
    "big_small",
    formula=NUMBERS,
    defect="zeros come in at the ends, where the shift of this network goes round",
)
def big_small(s: Setting) -> Problem:
    """BigSmall: one large frame beside small ones, whose shift wraps around their segment."""
    attributes = {
        "heads": {"pulse": 1, "respiration": 1, "action_units": 12},
        "filters": [4, 6],
        "hidden": 8,
        "fold_div": 3,
        "fill": "circular",
    }
    big = normal(s.rng, (2, 3, 1, 144, 144))
    return network(s, "big_small", normal(s.rng, (2, 3, 3, 9, 9)), attributes, {"big": big})
