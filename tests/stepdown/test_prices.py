"""A cost is exact to the micro-dollar, and unknown is not zero."""

from stepdown.prices import price_of, rent_usd_micros, rented_per_hour
from stepdown.settings import ModelSettings, Settings, TaskSettings


def test_cost_is_tokens_times_price() -> None:
    price = price_of(ModelSettings(model="m", input_usd_per_million=2.5, output_usd_per_million=10))
    assert price is not None
    assert price.cost_usd_micros(1_000_000, 1_000_000) == 12_500_000
    assert price.cost_usd_micros(100, 0) == 250


def test_cached_tokens_have_their_own_price() -> None:
    settings = ModelSettings(
        model="m", input_usd_per_million=2.0, cached_usd_per_million=0.5, output_usd_per_million=8.0
    )
    price = price_of(settings)
    assert price is not None
    assert price.cost_usd_micros(1000, 0, 400) == 600 * 2 + 400 * 0.5
    assert price.cost_usd_micros(10, 0, 400) == 5


def test_unknown_tokens_cost_an_unknown_amount() -> None:
    price = price_of(ModelSettings(model="m", input_usd_per_million=1, output_usd_per_million=1))
    assert price is not None
    assert price.cost_usd_micros(None, 5) is None


def test_a_model_rented_by_the_hour_costs_nothing_a_token() -> None:
    price = price_of(ModelSettings(model="m", usd_per_hour=1.2))
    assert price is not None
    assert price.cost_usd_micros(1000, 1000) == 0


def test_an_unknown_model_has_no_price() -> None:
    assert price_of(ModelSettings(model="nobody-lists-this-model")) is None


def test_a_listed_model_takes_the_listed_price() -> None:
    price = price_of(ModelSettings(model="gpt-4o"))
    assert price is not None
    assert (price.input, price.output) == (2.5, 10.0)


def test_rent_is_by_the_second() -> None:
    assert rent_usd_micros(3.6, 1.0) == 1_000
    assert rent_usd_micros(2.0, 5400.0) == 3_000_000
    assert rent_usd_micros(0.0, 5400.0) == 0


def test_tasks_on_one_small_model_pay_its_rent_once_together() -> None:
    models = {
        "shared": ModelSettings(model="m", usd_per_hour=1.2),
        "own": ModelSettings(model="n", usd_per_hour=0.5),
    }
    small = {"one": "shared", "two": "shared", "three": "own", "four": None}
    settings = Settings(models=models, tasks={name: TaskSettings(small=of) for name, of in small.items()})
    rents = [rented_per_hour(settings, task) for task in settings.tasks.values()]
    assert rents == [0.6, 0.6, 0.5, 0.0]
    assert rented_per_hour(settings, TaskSettings(small="shared")) == 0.6
