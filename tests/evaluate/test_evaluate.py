import numpy as np
import pytest
from sklearn import metrics as oracle

from helpers import fer2013_split, public_test
from mien.datasets import TRAINING, CropDataset
from mien.errors import InputError
from mien.evaluate import (
    DATA_LABELS,
    FERPLUS_MAJORITY,
    ConfidenceScaling,
    Predictions,
    apply_temperature,
    by_group,
    calibration,
    compare,
    evaluate,
    figures,
    fit_confidence,
    fit_temperature,
    latency,
    log_of_probs,
    mcnemar_exact,
    operating_point,
    predict,
    report_on,
    risk_coverage,
    test_time_augment,
    truth_of,
    vote_figures,
    worst_mistakes,
)
from mien.labels import FER7, FERPLUS8, FIVE, LabelSet

AB = LabelSet("ab", ("a", "b"))
ABC = LabelSet("abc", ("a", "b", "c"))


def predictions(rows, truth, labels=ABC):
    return Predictions(np.array(rows, np.float32), np.array(truth, np.int64), labels)


def of_confidence(confidence, correct):
    """Two classes; the answer is always the first one."""
    p = np.array(confidence)
    return predictions(np.stack((p, 1 - p), 1), [0 if right else 1 for right in correct], AB)


def random_predictions(n=400, labels=FER7, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(labels), n)
    logits = rng.normal(size=(n, len(labels))) + 1.5 * np.eye(len(labels))[truth]
    if decimals is not None:
        logits = np.round(logits, decimals)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return predictions(probs, truth, labels)


def random_data(n=40, labels=FER7, seed=0, votes=None):
    rng = np.random.default_rng(seed)
    return CropDataset(
        rng.integers(0, 256, (n, 48, 48), np.uint8),
        rng.integers(0, len(labels), n).astype(np.int8),
        np.full(n, "PublicTest"),
        labels=labels,
        votes=votes,
    )


def softmax_of_pixels(classes):
    """A real function of the crops: no state, another answer for every image."""

    def predict_proba(crops):
        logits = crops.reshape(len(crops), -1)[:, :classes].astype(np.float32) / 64
        weights = np.exp(logits)
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    return predict_proba


# Figures


def test_a_case_small_enough_for_a_hand():
    report = report_on(predictions([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.6, 0.3], [0.2, 0.3, 0.5]], [0, 1, 1, 0]))
    assert report.confusion.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert report.overall.n == 4
    assert report.overall.accuracy.value == 0.5
    assert report.overall.top2_accuracy == 0.75
    assert report.overall.macro_f1.value == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    assert report.overall.log_loss == pytest.approx(-np.log([0.7, 0.4, 0.6, 0.2]).mean(), abs=1e-6)
    figures = [(c.precision, c.recall, c.support) for c in report.classes]
    np.testing.assert_equal(figures, [(0.5, 0.5, 2), (1.0, 0.5, 2), (0, np.nan, 0)])  # no recall without a face


@pytest.mark.parametrize("seed", range(3))
def test_figures_agree_with_scikit_learn(seed):
    p = random_predictions(seed=seed)
    report = report_on(p, resamples=10)
    columns = list(range(len(FER7)))
    exact = p.probs / p.probs.sum(axis=1, keepdims=True, dtype=np.float64)
    assert report.overall.accuracy.value == pytest.approx(oracle.accuracy_score(p.truth, p.predicted))
    assert report.overall.macro_f1.value == pytest.approx(oracle.f1_score(p.truth, p.predicted, average="macro"))
    assert report.overall.top2_accuracy == pytest.approx(oracle.top_k_accuracy_score(p.truth, p.probs, k=2))
    assert report.overall.log_loss == pytest.approx(oracle.log_loss(p.truth, exact), rel=1e-4)
    assert (report.confusion == oracle.confusion_matrix(p.truth, p.predicted, labels=columns)).all()
    theirs = oracle.precision_recall_fscore_support(p.truth, p.predicted, labels=columns, zero_division=0)
    ours = np.array([(c.precision, c.recall, c.f1, c.support) for c in report.classes]).T
    np.testing.assert_allclose(ours, theirs)


def test_macro_f1_counts_only_classes_that_occur_as_scikit_learn_does():
    p = predictions([[0.8, 0.1, 0.1]] * 3 + [[0.1, 0.8, 0.1]], [0, 0, 1, 1])
    assert figures(p).macro_f1.value == pytest.approx(oracle.f1_score(p.truth, p.predicted, average="macro"))


def test_a_perfect_predictor_gets_perfect_figures():
    truth = np.arange(21) % 7
    report = report_on(predictions(np.eye(7)[truth], truth, FER7))
    assert report.overall.accuracy.value == report.overall.macro_f1.value == report.overall.top2_accuracy == 1
    assert report.overall.ece == report.overall.log_loss == report.calibration.adaptive_ece == 0
    assert report.selective.aurc == 0
    assert report.mistakes == ()
    assert (report.confusion == 3 * np.eye(7)).all()


def test_the_order_of_the_images_does_not_matter_even_with_ties():
    p = random_predictions(decimals=0)
    assert len(np.unique(p.confidence)) < len(p)
    order = np.random.default_rng(1).permutation(len(p))
    a, b = report_on(p), report_on(p.where(order))
    assert a.overall == b.overall
    assert (a.confusion == b.confusion).all()
    np.testing.assert_allclose(a.selective.risk, b.selective.risk)
    assert a.calibration.adaptive_ece == pytest.approx(b.calibration.adaptive_ece)


def test_intervals_are_those_of_resampling_images():
    p = random_predictions(n=300)
    found = figures(p, resamples=4000)
    rng = np.random.default_rng(5)
    draws = [rng.integers(0, len(p), len(p)) for _ in range(300)]
    accuracy = np.percentile([p.correct[d].mean() for d in draws], (2.5, 97.5))
    f1 = np.percentile([oracle.f1_score(p.truth[d], p.predicted[d], average="macro") for d in draws], (2.5, 97.5))
    np.testing.assert_allclose((found.accuracy.low, found.accuracy.high), accuracy, atol=0.016)
    np.testing.assert_allclose((found.macro_f1.low, found.macro_f1.high), f1, atol=0.016)
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high


def test_the_seed_decides_the_intervals():
    p = random_predictions()
    assert figures(p, seed=3) == figures(p, seed=3)
    assert figures(p, seed=3).accuracy.value == figures(p, seed=4).accuracy.value
    assert figures(p, seed=3).macro_f1 != figures(p, seed=4).macro_f1


def test_nothing_to_measure_is_a_clear_error():
    with pytest.raises(InputError, match="no image has a label"):
        figures(predictions([[0.2, 0.3, 0.5]], [-1]))


# Calibration


def test_reliability_table_by_hand():
    found = calibration(of_confidence([0.75] * 4 + [1.0], [True, True, False, False, True]), bins=5)
    assert [b.count for b in found.bins] == [0, 0, 0, 4, 1]
    assert (found.bins[3].low, found.bins[3].high, found.bins[3].accuracy) == (0.6, 0.8, 0.5)
    assert found.bins[3].confidence == pytest.approx(0.75)
    assert np.isnan(found.bins[0].accuracy)
    assert found.ece == pytest.approx(0.8 * 0.25, abs=1e-6)


def test_adaptive_bins_hold_equally_many_images():
    confidence = [0.6, 0.62, 0.9, 0.92]
    found = calibration(of_confidence(confidence, [True, False, True, True]), bins=2)
    assert found.adaptive_ece == pytest.approx((abs(1.22 - 1) + abs(1.82 - 2)) / 4, abs=1e-6)


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 7)) * 2
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    truth = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1)
    assert fit_temperature(3 * z, truth) == pytest.approx(3, rel=0.03)
    assert fit_temperature(z / 2, truth) == pytest.approx(0.5, rel=0.03)


def test_temperature_is_the_minimum_that_scipy_finds():
    from scipy.optimize import minimize_scalar

    p = random_predictions()
    z = log_of_probs(p.probs)

    def loss(t):
        return oracle.log_loss(p.truth, np.exp(z / t) / np.exp(z / t).sum(axis=1, keepdims=True))

    assert fit_temperature(z, p.truth) == pytest.approx(minimize_scalar(loss, bounds=(0.05, 20)).x, rel=1e-3)


def test_temperature_knows_logits_only_up_to_a_constant_and_leaves_images_out():
    p = random_predictions()
    z = log_of_probs(p.probs)
    expected = fit_temperature(z, p.truth)
    shifted = z + np.random.default_rng(0).normal(size=(len(z), 1))
    assert fit_temperature(shifted, p.truth) == pytest.approx(expected, rel=1e-9)
    more = np.concatenate((z, z[::-1]))
    assert fit_temperature(more, np.concatenate((p.truth, np.full(len(z), -1)))) == expected


def test_temperature_of_answers_that_are_all_right_is_the_smallest():
    assert fit_temperature(np.eye(3), np.arange(3)) == pytest.approx(0.05)
    assert fit_temperature(9 * np.eye(3), np.array([1, 2, 0])) == (pytest.approx(20))


def test_temperature_copes_with_infinite_logits():
    with np.errstate(divide="ignore"):
        z = np.log(np.array([[1, 0, 0], [0.6, 0.4, 0], [0.5, 0.5, 0]]))
    assert 0.05 <= fit_temperature(z, np.array([0, 1, 0])) <= 20


@pytest.mark.parametrize(
    ("logits", "truth"),
    [(np.zeros((2, 3)), np.array([-1, -1])), (np.zeros((2, 3)), np.array([0])), (np.zeros(3), np.array([0, 1, 2])),
     (np.full((2, 3), np.nan), np.array([0, 1]))],
)  # fmt: skip
def test_temperature_refuses_what_it_cannot_fit(logits, truth):
    with pytest.raises(InputError):
        fit_temperature(logits, truth)


def drawn_from(probs, seed=1):
    """Draw a label for each row from its probabilities."""
    return (probs.cumsum(axis=1) < np.random.default_rng(seed).random((len(probs), 1))).sum(axis=1)


@pytest.mark.parametrize("scaling", [ConfidenceScaling(1.5), ConfidenceScaling(0.8, -0.5), ConfidenceScaling(2.0, 0.6)])
def test_a_scaling_of_confidence_is_found_again(scaling):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40_000, 7)) * rng.uniform(0.5, 4, (40_000, 1))
    truth = drawn_from(scaling.probs(z))
    found = fit_confidence(z, truth)
    assert found.temperature == pytest.approx(scaling.temperature, rel=0.08)
    assert found.exponent == pytest.approx(scaling.exponent, abs=0.08)
    shifted = fit_confidence(z + rng.normal(size=(len(z), 1)), truth)
    assert (shifted.temperature, shifted.exponent) == pytest.approx((found.temperature, found.exponent), rel=1e-3)


def test_a_scaling_of_confidence_mends_what_one_temperature_cannot():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(20_000, 7)) * rng.uniform(0.5, 6, (20_000, 1))
    truth = drawn_from(ConfidenceScaling(1.0, -0.7).probs(z))

    def error(scaling):
        return calibration(Predictions(scaling.probs(z).astype(np.float32), truth, FER7)).ece

    scaling = fit_confidence(z, truth)
    assert error(scaling) < 0.01 < 0.03 < error(ConfidenceScaling(fit_temperature(z, truth)))
    assert np.array_equal(scaling.probs(z).argmax(axis=1), z.argmax(axis=1))
    np.testing.assert_allclose(scaling.probs(z).sum(axis=1), 1)


def test_a_scaling_of_confidence_is_the_least_that_scipy_finds():
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    z = rng.normal(size=(3000, 5)) * rng.uniform(0.5, 4, (3000, 1))
    truth = drawn_from(ConfidenceScaling(1.2, -0.3).probs(z), seed=5)

    def score(w):
        return np.square(
            ConfidenceScaling(np.exp(w[0]), w[1]).probs(z).max(axis=1) - (z.argmax(axis=1) == truth)
        ).mean()

    expected = minimize(score, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12}).x
    found = fit_confidence(z, truth)
    assert (np.log(found.temperature), found.exponent) == pytest.approx(tuple(expected), abs=2e-3)


def test_few_images_get_a_temperature_alone():
    z = np.random.default_rng(3).normal(size=(499, 7)) * 3
    truth = drawn_from(ConfidenceScaling(1.0, -0.5).probs(z))
    assert fit_confidence(z, truth) == ConfidenceScaling(fit_temperature(z, truth))
    many, labels = np.concatenate((z, z[:1], z)), np.concatenate((truth, truth[:1], np.full(len(z), -1)))
    assert fit_confidence(many, labels).exponent != 0
    with pytest.raises(InputError, match="above 0"):
        ConfidenceScaling(0.0)
    np.testing.assert_allclose(ConfidenceScaling(1.0, -0.9).probs(np.zeros((2, 4))), 0.25)


def test_applying_a_temperature_keeps_answers_and_lowers_the_loss():
    p = random_predictions()
    sharp = Predictions(apply_temperature(p.probs, 0.25), p.truth, p.labels)
    cooled = apply_temperature(sharp.probs, fit_temperature(log_of_probs(sharp.probs), p.truth))
    assert (cooled.argmax(axis=1) == p.predicted).all()
    np.testing.assert_allclose(cooled.sum(axis=1), 1, atol=1e-6)
    assert figures(Predictions(cooled, p.truth, p.labels)).log_loss < figures(sharp).log_loss
    np.testing.assert_allclose(apply_temperature(p.probs, 1), p.probs, atol=1e-6)
    assert np.isfinite(apply_temperature(np.eye(3, dtype=np.float32), 2.0)).all()
    with pytest.raises(InputError, match="above 0"):
        apply_temperature(p.probs, 0)


# Selective prediction


def test_risk_and_coverage_by_hand():
    found = risk_coverage(of_confidence([0.9, 0.8, 0.7, 0.6], [True, False, True, False]))
    assert found.coverage == (0.25, 0.5, 0.75, 1.0)
    assert found.risk == pytest.approx((0, 1 / 2, 1 / 3, 1 / 2))
    assert found.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_images_of_equal_confidence_share_their_errors():
    found = risk_coverage(of_confidence([0.75] * 4, [True, False, True, False]))
    assert found.risk == pytest.approx((0.5,) * 4)


def test_a_long_curve_is_thinned_and_ends_at_the_error_rate():
    p = random_predictions(n=1000)
    found = risk_coverage(p)
    assert len(found.coverage) == 100
    assert found.coverage[-1] == 1
    assert found.risk[-1] == pytest.approx(1 - p.correct.mean())


def test_operating_points():
    p = of_confidence([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    point = operating_point(p, 0.75)
    assert (point.coverage, point.accuracy) == (0.5, 0.5)
    nothing = operating_point(p, 0.95)
    assert nothing.coverage == 0
    assert np.isnan(nothing.accuracy)


def test_worst_mistakes_come_first():
    p = predictions([[0.6, 0.3, 0.1], [0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.7, 0.2, 0.1]], [1, 0, 0, -1])
    worst = worst_mistakes(p)
    assert [m.index for m in worst] == [1, 0]
    assert (worst[0].truth, worst[0].predicted) == ("a", "b")
    assert (worst[0].confidence, worst[0].truth_prob) == pytest.approx((0.9, 0.1))
    assert len(worst_mistakes(p, count=1)) == 1


# Data sets, label sets, votes


def votes_of(*rows):
    return np.array(rows, np.uint8)


HAPPY = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
CONTEMPT = (1, 0, 0, 0, 0, 0, 0, 9, 0, 0)
TORN = (5, 5, 0, 0, 0, 0, 0, 0, 0, 0)
NO_FACE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)


def test_ferplus_is_scored_by_its_authors_rule_and_contempt_is_wrong_for_seven_classes():
    data = random_data(4, votes=votes_of(HAPPY, CONTEMPT, TORN, NO_FACE))

    def always_happy(crops):
        return np.tile(np.eye(7, dtype=np.float32)[FER7.index("happy")], (len(crops), 1))

    report = evaluate(always_happy, data, FER7, target=FERPLUS8)
    assert report.rule == FERPLUS_MAJORITY
    assert (report.overall.n, report.n_left_out) == (2, 2)
    assert report.overall.accuracy.value == 0.5
    assert report.confusion[FERPLUS8.index("contempt"), FERPLUS8.index("happy")] == 1
    assert report.votes is not None
    assert report.votes.n == 3
    assert report.votes.expected_accuracy == pytest.approx((1 + 0 + 0.5) / 3)
    assert report.votes.best_accuracy == pytest.approx((1 + 1 + 0.5) / 3)


def test_vote_distribution_by_hand():
    probs = np.full((2, 8), 0.125, np.float32)
    found = vote_figures(probs, votes_of(TORN, HAPPY))
    assert found.cross_entropy == pytest.approx(np.log(8), abs=1e-6)
    assert found.kl_divergence == pytest.approx(np.log(8) - np.log(2) / 2, abs=1e-6)
    exact = vote_figures(np.array([[0.5, 0.5] + [0] * 6, [0, 1] + [0] * 6], np.float32), votes_of(TORN, HAPPY))
    assert exact.kl_divergence == pytest.approx(0, abs=1e-6)
    assert vote_figures(probs[:1], votes_of(NO_FACE)) is None


def test_labels_are_mapped_by_name_and_what_the_set_lacks_is_left_out():
    data = random_data(60)
    truth = truth_of(data, FIVE)
    for number, name in enumerate(FER7.names):
        expected = FIVE.index(name) if name in FIVE.names else -1
        assert (truth[data.label == number] == expected).all()
    report = evaluate(softmax_of_pixels(7), data, FER7, target=FIVE, resamples=10)
    assert report.rule == DATA_LABELS
    assert report.overall.n == sum(name in FIVE.names for name in np.array(FER7.names)[data.label])
    assert report.predictions.probs.shape == (60, 5)


def test_unlabelled_images_are_left_out():
    data = random_data(10)
    data.label[:4] = -1
    assert (truth_of(data, FER7)[:4] == -1).all()
    assert evaluate(softmax_of_pixels(7), data, FER7).n_left_out == 4


def test_the_same_without_images_the_model_has_learnt_from():
    data = random_data(30)
    report = evaluate(softmax_of_pixels(7), data, FER7, trained_on=data.crops[[3, 5, 5]])
    assert report.n_duplicates == 2
    assert report.unseen.n == 28
    kept = np.delete(np.arange(30), (3, 5))
    assert report.unseen == figures(report.predictions.where(np.isin(np.arange(30), kept)))
    assert evaluate(softmax_of_pixels(7), data, FER7).unseen is None
    assert evaluate(softmax_of_pixels(7), data, FER7, trained_on=data.crops).unseen is None


def test_batches_make_no_difference_and_progress_is_told():
    data, seen = random_data(25), []
    whole = predict(softmax_of_pixels(7), data.crops, 7)
    parts = predict(softmax_of_pixels(7), data.crops, 7, batch_size=10, progress=lambda *x: seen.append(x))
    np.testing.assert_array_equal(whole, parts)
    assert seen == [(10, 25), (20, 25), (25, 25)]
    assert predict(softmax_of_pixels(7), data.crops[:0], 7).shape == (0, 7)


@pytest.mark.parametrize(
    ("returned", "hint"),
    [(lambda n: np.zeros((n, 7)), "softmax"), (lambda n: np.full((n, 8), 1 / 8), "label set of the model"),
     (lambda n: np.full((n, 7), np.nan), "finite"), (lambda n: np.full((n, 7), 100 / 7), "sum to 1")],
)  # fmt: skip
def test_what_is_no_probability_is_refused(returned, hint):
    with pytest.raises(InputError, match=hint):
        evaluate(lambda crops: returned(len(crops)), random_data(3), FER7)


def test_groups():
    p = random_predictions(n=60)
    groups = np.array(["old", "young", "none"])[np.arange(60) % 3]
    truth = np.where(groups == "none", -1, p.truth)
    found = by_group(Predictions(p.probs, truth, p.labels), groups, attribute="age")
    assert [(g.attribute, g.group, g.figures.n) for g in found] == [("age", "old", 20), ("age", "young", 20)]
    assert found[0].figures.accuracy.value == p.correct[groups == "old"].mean()
    report = report_on(p, groups={"age": groups, "all": np.full(60, "x")}, resamples=10)
    assert [g.attribute for g in report.groups] == ["age"] * 3 + ["all"]
    assert report.groups[-1].figures == report.overall
    with pytest.raises(InputError, match="one entry for each of the 60"):
        by_group(p, groups[:5])


# Two models


def test_mcnemar_agrees_with_the_binomial_test():
    from scipy.stats import binomtest

    for a, b in ((0, 0), (1, 0), (5, 15), (15, 5), (40, 41), (500, 700)):
        expected = binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
        assert mcnemar_exact(a, b) == pytest.approx(expected, rel=1e-9)


def test_comparison_is_paired():
    truth = np.zeros(100, np.int64)
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    a = predictions([right] * 80 + [wrong] * 20, truth, AB)
    b = predictions([right] * 70 + [wrong] * 30, truth, AB)
    found = compare(a, b)
    assert (found.accuracy_a, found.accuracy_b, found.n) == (0.8, 0.7, 100)
    assert (found.only_a, found.only_b) == (10, 0)
    assert found.p_value == pytest.approx(2 / 2**10)
    assert found.difference.value == pytest.approx(0.1)
    assert 0.03 < found.difference.low < 0.1 < found.difference.high < 0.18
    assert compare(b, a).difference.value == pytest.approx(-0.1)
    same = compare(a, a)
    assert (same.p_value, same.difference.value, same.difference.low) == (1, 0, 0)


def test_a_comparison_of_different_images_is_refused():
    p = random_predictions(n=20)
    with pytest.raises(InputError, match="same images"):
        compare(p, p.where(np.arange(20) < 10))
    with pytest.raises(InputError, match="nothing to compare"):
        compare(*[Predictions(p.probs, np.full(20, -1), p.labels)] * 2)


# Time and views


def test_latency_times_every_batch_size():
    calls = []

    def busy(crops):
        calls.append(len(crops))
        return np.full((len(crops), 7), 1 / 7, np.float32)

    found = latency(busy, batch_sizes=(1, 8), repeats=4, warmup=2)
    assert calls == [1] * 6 + [8] * 6
    assert [t.batch_size for t in found] == [1, 8]
    for t in found:
        assert 0 < t.median_ms <= t.p90_ms
        assert t.faces_per_s == pytest.approx(1000 * t.batch_size / t.median_ms)
    with pytest.raises(InputError, match="1 or more"):
        latency(busy, repeats=0)


def test_flip_gives_an_image_and_its_mirror_image_the_same_answer():
    crops, model = random_data(5).crops, softmax_of_pixels(7)
    flipped = test_time_augment(model, "flip")
    np.testing.assert_allclose(flipped(crops), flipped(crops[:, :, ::-1]), atol=1e-6)
    np.testing.assert_allclose(flipped(crops), (model(crops) + model(crops[:, :, ::-1])) / 2, atol=1e-6)
    assert flipped(crops).dtype == np.float32


def test_ten_crop_shows_a_44_pixel_network_the_five_views_and_their_mirror_images():
    crops, seen = random_data(2).crops, []

    def model(views):
        seen.append(views[:, 2:46, 2:46])
        return softmax_of_pixels(7)(views)

    found = test_time_augment(model, "ten-crop")(crops)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    expected = [crops[:, y : y + 44, x : x + 44] for y, x in ((2, 2), (0, 0), (0, 4), (4, 0), (4, 4))]
    assert len(seen) == 10
    for i, view in enumerate(expected):
        np.testing.assert_array_equal(seen[2 * i], view)
        np.testing.assert_array_equal(seen[2 * i + 1], view[:, :, ::-1])


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(InputError, match="flip, ten-crop"):
        test_time_augment(softmax_of_pixels(7), "random")


# The real thing


def always(labels, name):
    return lambda crops: np.tile(np.eye(len(labels), dtype=np.float32)[labels.index(name)], (len(crops), 1))


def test_public_test_has_the_published_numbers(shared):
    data = public_test(shared)
    report = evaluate(always(FER7, "happy"), data, FER7, trained_on=fer2013_split(shared, TRAINING).crops)
    assert (report.overall.n, report.n_duplicates, report.unseen.n) == (3589, 280, 3309)
    assert report.overall.accuracy.value == pytest.approx(895 / 3589)
    plus = evaluate(always(FERPLUS8, "happy"), data, FERPLUS8)
    assert (plus.overall.n, plus.rule) == (3199, FERPLUS_MAJORITY)
    assert plus.overall.accuracy.value == pytest.approx(865 / 3199)
