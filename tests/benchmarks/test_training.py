"""The training of an emulator as a chapter of its report."""

import json

import numpy as np

from emulators.benchmarks.draw import draw
from emulators.benchmarks.training import training_result


def test_losses_and_metric_of_a_run(tmp_path):
    lines = [
        {"step": 1, "samples": 16, "seconds": 1.0, "samples_per_second": 9.5, "critic": 0.7,
         "learning_rate_critic": 0.1},
        {"step": 2, "samples": 32, "seconds": 2.0, "field_distance": 0.5},
        {"step": 3, "samples": 48, "seconds": 3.0, "critic": 0.6},
    ]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result = training_result(tmp_path, {"field_distance": 0.1})
    metric, critic = result.measured
    assert (metric.name, metric.label) == ("field_distance", "field distance")
    np.testing.assert_array_equal(metric.x, [32])
    np.testing.assert_array_equal(metric.reference, [0.1])
    assert critic.name == "critic"
    np.testing.assert_array_equal(critic.generated, [0.7, 0.6])
    draw(result.measured).draw_without_rendering()


def test_what_is_no_run_has_none(tmp_path):
    assert training_result(tmp_path, {}) is None


def test_a_run_of_a_training(field_emulator_file):
    names = [m.name for m in training_result(field_emulator_file.parent, {}).measured]
    assert names[0] == "field_distance"
    assert "loss_critic" in names
