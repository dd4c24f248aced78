"""Walks a page with the Tab key, in whichever browser: what is reached, and whether it is seen where it is."""

from collections.abc import Callable
from typing import Any

FOCUSED = """(async () => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const runs = ({ playState, effect }) => playState === "running" && effect.target.checkVisibility();
    const moves = () => document.getAnimations().some(runs); // Firefox never ends those of what is folded away
    for (let i = 0; i < 3 || (i < 60 && moves()); i += 1) await frame(); // what comes into view takes a moment
    const one = document.activeElement;
    if (one === document.body || one === document.documentElement) return null;
    const shown = one.matches("input.file") ? document.querySelector(`label[for="${one.id}"]`) : one;
    const { x, width, top, bottom } = shown.getBoundingClientRect();
    const middle = (Math.max(top, 0) + Math.min(bottom, innerHeight)) / 2; // of what there is of it to see
    const there = document.elementFromPoint(x + width / 2, middle);
    const seen = there && (shown.contains(there) || there.contains(shown) || there.closest("label")?.contains(one));
    const { outlineStyle, outlineWidth } = getComputedStyle(shown);
    const words = one.id || one.ariaLabel || one.innerText || one.value;
    const again = document.walked.has(one);
    document.walked.add(one);
    const outlined = outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
    return [`${one.tagName} ${words}`.slice(0, 60), Boolean(seen), outlined, again];
})()"""
MISSED = """[...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && !document.walked.has(one))
    .filter((one) => one.type !== "radio").map((one) => one.outerHTML.slice(0, 90))"""
MOST_STOPS = 120


def walk(press: Callable[[str], Any], evaluate: Callable[[str], Any]) -> list[str]:
    """Press Tab until the focus is where it began, and return what is wrong: not reached, not seen, without an outline.

    Args:
        press: Presses a key.
        evaluate: Returns the value of an expression of the page.
    """
    evaluate("(document.walked = new Set(), scrollTo(0, 0), document.querySelector('.skip').focus(), 1)")
    wrong, stops = [], 0
    for _ in range(MOST_STOPS):
        stop = evaluate(FOCUSED)
        if stop is None or stop[3]:  # past the last, in the browser's own controls, or at the first again
            break
        what, seen, outlined, _ = stop
        wrong += [] if seen else [f"not seen: {what}"]
        wrong += [] if outlined or not stops else [f"no outline: {what}"]  # the first got it from a script
        stops += 1
        if not evaluate(MISSED):  # not one step further: Firefox gives the focus to its own controls then
            break
        press("Tab")
    assert stops > 5, "Tab reaches next to nothing"
    return [*dict.fromkeys(wrong), *(f"not reached: {one}" for one in evaluate(MISSED))]
