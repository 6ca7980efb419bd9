"""Names stand beside what they name and never on each other."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from dashboards.charts.labels import Box, Canvas, Place, beside

WIDTH, HEIGHT = 400.0, 200.0


def test_the_first_place_is_taken_where_nothing_is_in_the_way() -> None:
    first, second = Place(200, 100), Place(200, 50)
    assert Canvas(WIDTH, HEIGHT, []).put("name", [first, second]) == first


def test_a_name_keeps_off_what_is_drawn() -> None:
    first, second = Place(200, 100), Place(200, 50)
    assert Canvas(WIDTH, HEIGHT, [Place(203, 101)]).put("name", [first, second]) == second


def test_a_name_rather_hides_a_line_than_another_name() -> None:
    first, second = Place(200, 100), Place(200, 50)
    canvas = Canvas(WIDTH, HEIGHT, [Place(200, 50)] * 5)
    assert canvas.put("one", [first]) == first
    assert canvas.put("other", [first, second]) == second


def test_a_name_stays_in_the_chart() -> None:
    centre = Canvas(WIDTH, HEIGHT, []).put("always strong", beside(Place(WIDTH, HEIGHT / 2), "always strong"))
    assert not Box.around(centre, "always strong").leaves(WIDTH, HEIGHT)


def test_places_beside_a_point_do_not_cover_it() -> None:
    point = Place(200, 100)
    for centre in beside(point, "in force"):
        box = Box.around(centre, "in force")
        assert not (box.left < point.x < box.right and box.top < point.y < box.bottom)


@given(st.lists(st.tuples(st.floats(60, 340), st.floats(40, 160)), min_size=2, max_size=4))
def test_names_of_points_never_overlap_where_there_is_room(points: list[tuple[float, float]]) -> None:
    canvas = Canvas(WIDTH, HEIGHT, [])
    boxes = [Box.around(canvas.put("name", beside(Place(*point), "name")), "name") for point in points]
    assert not any(one.meets(other) for one, other in combinations(boxes, 2))
